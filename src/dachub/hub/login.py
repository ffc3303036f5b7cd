"""How people log in: local accounts by password, and OpenID Connect through oauthenticator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import jwt
from jupyterhub.auth import Authenticator
from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthCallbackHandler, OAuthLoginHandler
from tornado import web  # type: ignore[attr-defined]

from dachub.hub import runtime
from dachub.hub.claims import Claims, check_entry, is_administrator, read_claims
from dachub.hub.clock import now
from dachub.hub.logs import begin_request
from dachub.hub.people import LOCAL_ISSUER
from dachub.hub.provider import (
    ClientRefused,
    GrantRefused,
    Provider,
    ProviderDown,
    ProviderNonsense,
)
from dachub.hub.settings import OpenIDSettings
from dachub.model.people import HubPerson, LoginRecord
from dachub.model.problems import DachubError, PermissionDenied

IDENTITY = "dachub"
STATIC = "dachub-static"
STATIC_PATH = Path(__file__).with_name("static")


class LoginRefused(web.HTTPError):  # type: ignore[misc]
    """A login that ends here, with a message for the person."""

    def __init__(self, error: DachubError) -> None:
        super().__init__(error.status, error.code)
        self.jupyterhub_message = error.message


class NotCompleted(PermissionDenied):
    """The way through the provider was not walked to its end."""

    code = "login-not-completed"


class LoginBase(Authenticator):  # type: ignore[misc]
    """Local accounts, and what both ways of logging in share."""

    def get_handlers(self, app: Any) -> list[Any]:
        """Our static files; and the moment when the plugin's tasks may start in the hub's loop."""
        runtime.current().attach(app)
        static = (rf"/{STATIC}/(.*)", CacheControlStaticFilesHandler, {"path": str(STATIC_PATH)})
        return [static, *super().get_handlers(app)]

    async def authenticate(self, handler: Any, data: dict[str, str] | None = None) -> Any:
        """Check a name and password."""
        begin_request()
        try:
            return await self._by_password(handler, data or {})
        except DachubError as error:
            raise LoginRefused(error) from error

    async def refresh_user(self, user: Any, handler: Any = None, **_: Any) -> Any:
        """See whether a local account still may be here; the service knows."""
        begin_request()
        record = LoginRecord(
            issuer=LOCAL_ISSUER,
            subject=user.name,
            username=user.name,
            candidate=user.name,
            refresh=True,
            administrator=bool(user.admin),
            at=now(),
        )
        try:
            person = await runtime.current().people.register(record)
        except DachubError as error:
            return self._must_log_in(user, handler, error.message)
        return {"name": user.name, "admin": person.administrator}

    async def delete_user(self, user: Any) -> None:
        """Forget a person whom the hub deletes: the service has it do so, or an administrator."""
        super().delete_user(user)
        await runtime.current().forget(user.name, {"", *user.orm_user.orm_spawners})

    async def refresh_and_save(self, user: Any) -> None:
        """Refresh a person who has no page open; what changed is saved."""
        fresh = await self.refresh_user(user)
        user._auth_refreshed = time.monotonic()
        if isinstance(fresh, dict) and fresh["admin"] != user.admin:
            from jupyterhub.roles import assign_default_roles

            user.admin = fresh["admin"]
            assign_default_roles(user.db, entity=user.orm_user)
            user.db.commit()

    def _must_log_in(self, user: Any, handler: Any, reason: str) -> bool:
        self.log.warning("%s must log in again: %s", user.name, reason)
        if handler is not None and not hasattr(handler, "_token_authenticated"):
            # JupyterHub 6.1 reads this after a refresh that failed, but sets it for tokens only.
            handler._token_authenticated = False
        return False

    async def _by_password(self, handler: Any, data: Mapping[str, str]) -> dict[str, Any] | None:
        live = runtime.current()
        username = data.get("username", "").strip().lower()
        password = data.get("password", "")
        if not live.settings.login.local_accounts or not username:
            return None
        address = handler.request.remote_ip or ""
        account = await live.passwords.check(username, password, address)
        if account is None:
            await live.people.report_refusal(username, LOCAL_ISSUER, "wrong-password")
            return None
        if account.disabled:
            await live.people.report_refusal(username, LOCAL_ISSUER, "account-disabled")
            raise live.people.disabled()
        person = await live.people.register(
            LoginRecord(
                issuer=LOCAL_ISSUER,
                subject=account.username,
                username=account.username,
                candidate=account.username,
                full_name=account.full_name,
                email=account.email,
                administrator=account.administrator,
                at=now(),
            )
        )
        return _auth_model(person, LOCAL_ISSUER, account.username, {})


class LocalAuthenticator(LoginBase):
    """Local accounts only."""


class StartHandler(OAuthLoginHandler):  # type: ignore[misc]
    """Sends the person to the provider."""

    async def get(self) -> None:
        """Find the provider first; an outage is a page, not a redirect into nowhere."""
        begin_request()
        await self.authenticator.discover()
        super().get()


class ReturnHandler(OAuthCallbackHandler):  # type: ignore[misc]
    """Takes the person back from the provider."""

    def check_error(self) -> None:
        """The provider sends people back with an error; its text is not ours to repeat."""
        if (error := self.get_argument("error", None)) is not None:
            self.log.warning("The provider sent somebody back with %r", error[:100])
            raise LoginRefused(
                NotCompleted("Your identity provider did not complete the sign-in. Try again.")
            )

    def check_code(self) -> None:
        """There must be a code."""
        if not self.get_argument("code", None):
            raise LoginRefused(NotCompleted("The sign-in was not completed. Try again."))

    def check_state(self) -> None:
        """The answer must belong to a login begun in this browser, not long ago."""
        try:
            super().check_state()
        except web.HTTPError as error:
            raise LoginRefused(
                NotCompleted(
                    "This sign-in was not begun in this browser, or it took too long. Try again."
                )
            ) from error


class OpenIDAuthenticator(LoginBase, GenericOAuthenticator):  # type: ignore[misc]
    """OpenID Connect, and local accounts beside it where they are allowed."""

    login_handler = StartHandler
    callback_handler = ReturnHandler

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._refreshing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def _provider(self) -> Provider:
        provider = runtime.current().provider
        if provider is None:
            raise RuntimeError("OpenIDAuthenticator needs login.openid")
        return provider

    @property
    def _settings(self) -> OpenIDSettings:
        settings = runtime.current().settings.login.openid
        if settings is None:
            raise RuntimeError("OpenIDAuthenticator needs login.openid")
        return settings

    async def discover(self) -> None:
        """Know where the provider's login page is.

        Raises
        ------
        LoginRefused
            With a page for the person, if the provider cannot be found.
        """
        try:
            endpoints = await self._provider.endpoints()
        except DachubError as error:
            raise self._failed(error) from error
        self.authorize_url = endpoints.authorization_endpoint
        self.token_url = endpoints.token_endpoint
        self.userdata_url = endpoints.userinfo_endpoint

    async def authenticate(self, handler: Any, data: Any = None, **_: Any) -> Any:
        """A form with a password, or a return from the provider with a code."""
        if data is not None:
            return await super().authenticate(handler, data)
        begin_request()
        params = self.build_access_tokens_request_params(handler)
        form = {name: str(value) for name, value in params.items() if value is not None}
        try:
            tokens = await self._provider.tokens(form)
            claims = await self._read(tokens)
            person = await self._admit(claims, refresh=False)
        except DachubError as error:
            raise self._failed(error) from error
        return _auth_model(person, self._settings.issuer, claims.subject, tokens)

    async def refresh_user(self, user: Any, handler: Any = None, **more: Any) -> Any:
        """Read the person's claims again.

        An outage of the provider changes nothing; its refusal of the person ends the login.
        """
        lock = self._refreshing.setdefault(user.name, asyncio.Lock())
        async with lock:  # a refresh token may be good for one use only
            state = await user.get_auth_state() or {}
            if state.get(IDENTITY, {}).get("issuer") == LOCAL_ISSUER:
                return await super().refresh_user(user, handler, **more)
            begin_request()
            try:
                tokens, claims = await self._read_again(state)
                person = await self._admit(claims, refresh=True)
            except (ProviderDown, ProviderNonsense, ClientRefused) as error:
                self.log.error(  # noqa: TRY400
                    "Claims of %s stay as they were: %s", user.name, error.message
                )
                return True
            except DachubError as error:
                return self._must_log_in(user, handler, error.message)
            if person.username != user.name:
                renamed = f"the directory knows this person as {person.username} now"
                return self._must_log_in(user, handler, renamed)
            model = _auth_model(person, self._settings.issuer, claims.subject, tokens)
            await user.save_auth_state(model["auth_state"])
            return model

    async def _read_again(self, state: Mapping[str, Any]) -> tuple[dict[str, Any], Claims]:
        tokens = dict(state.get("tokens") or {})
        if not tokens.get("access_token"):
            raise GrantRefused("no token is known")
        if refresh_token := tokens.get("refresh_token"):
            form = self.build_refresh_token_request_params(refresh_token)
            tokens = {"refresh_token": refresh_token} | await self._provider.tokens(form)
        return tokens, await self._read(tokens)

    async def _read(self, tokens: Mapping[str, Any]) -> Claims:
        raw = await self._provider.claims(tokens["access_token"])
        claims = read_claims(raw, self._settings)
        if id_token := tokens.get("id_token"):
            # From the provider itself over TLS, so its signature proves nothing more.
            try:
                subject = jwt.decode(id_token, options={"verify_signature": False}).get("sub")
            except jwt.PyJWTError as error:
                raise ProviderNonsense("The provider's id token cannot be read") from error
            if subject != claims.subject:
                raise ProviderNonsense("The provider's tokens speak of two different people")
        return claims

    async def _admit(self, claims: Claims, *, refresh: bool) -> HubPerson:
        live = runtime.current()
        try:
            # A person who lost their way in is registered all the same at a refresh, so that the
            # directory learns which groups they left.
            if not refresh:
                check_entry(claims, self._settings, live.settings.site.contact)
            person = await live.people.register(
                LoginRecord(
                    issuer=self._settings.issuer.rstrip("/"),
                    subject=claims.subject,
                    candidate=claims.candidate,
                    full_name=claims.full_name,
                    email=claims.email,
                    affiliations=list(claims.affiliations),
                    memberships=list(claims.memberships),
                    administrator=is_administrator(claims, self._settings),
                    refresh=refresh,
                    at=now(),
                )
            )
            if refresh:
                check_entry(claims, self._settings, live.settings.site.contact)
        except DachubError as error:
            if not refresh:
                await live.people.report_refusal(
                    claims.candidate or claims.subject, self._settings.issuer, error.code
                )
            raise
        return person

    def _failed(self, error: DachubError) -> LoginRefused:
        """One clear line for the administrator, one clear page for the person."""
        site = runtime.current().settings.site
        name = self.login_service
        if isinstance(error, ProviderDown | ProviderNonsense):
            self.log.error("No login through %s: %s", name, error.message)
            message = (
                f"{name} does not answer as it should, so you cannot sign in through it at the "
                "moment. Running servers go on. Try again in a few minutes; if it lasts, tell "
                f"{site.contact}."
            )
        elif isinstance(error, ClientRefused):
            self.log.error(
                "No login through %s: %s. Check login.openid.client_id and the client secret; "
                "it may have expired.",
                name,
                error.message,
            )
            message = (
                f"{name} does not accept this platform at the moment; only its administrators can "
                f"mend that. Running servers go on. Tell {site.contact}."
            )
        elif isinstance(error, GrantRefused):
            self.log.warning("A login through %s failed: %s", name, error.message)
            message = "The sign-in took too long, or its page was loaded twice. Sign in again."
        else:
            self.log.warning("A login through %s was refused: %s", name, error.code)
            message = error.message
        refused = LoginRefused(error)
        refused.jupyterhub_message = message
        return refused


def _auth_model(
    person: HubPerson, issuer: str, subject: str, tokens: Mapping[str, Any]
) -> dict[str, Any]:
    kept = ("access_token", "refresh_token", "token_type")
    return {
        "name": person.username,
        "admin": person.administrator,
        "auth_state": {
            IDENTITY: {"issuer": issuer, "subject": subject},
            "tokens": {name: tokens[name] for name in kept if tokens.get(name)},
        },
    }
