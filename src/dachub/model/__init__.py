"""What crosses a wire: models, names, units and error codes; imports nothing else of ours."""
