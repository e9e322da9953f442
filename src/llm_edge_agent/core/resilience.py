"""How healthy a deployment is, as its traffic showed. Nobody is ever called just to find out."""

UNHEALTHY_AFTER_FAILURES = 3


class Health:
    """Consecutive failures of one provider. A single success makes it healthy again."""

    __slots__ = ("failures", "known")

    def __init__(self) -> None:
        self.failures = 0
        self.known = False
        """Whether any traffic has shown anything yet."""

    def succeeded(self) -> None:
        self.failures = 0
        self.known = True

    def failed(self) -> None:
        self.failures += 1
        self.known = True

    @property
    def healthy(self) -> bool:
        return self.failures < UNHEALTHY_AFTER_FAILURES
