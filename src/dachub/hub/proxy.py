"""``python -m dachub.hub.proxy``: the pure-Python proxy, which has no such entry itself."""

from configurable_http_proxy.cli import main  # type: ignore[import-untyped]

if __name__ == "__main__":
    main()
