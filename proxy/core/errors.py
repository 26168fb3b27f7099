"""Everything that can go wrong with a pull, by blame. Each kind carries facts; the status is the HTTP edge's business.

Fault
├── RequestFault      the client asked for what nobody may ask
│   ├── NameInvalid, TagInvalid, DigestInvalid, PageInvalid
│   ├── RangeUnsatisfiable, SeveralRanges, HostUnknown
│   └── MethodUnsupported, VersionUnsupported, BodyRefused, RequestMalformed
├── LoginFault        whoever asks has not proven who he is
│   └── LoginNeeded, LoginRefused
├── Absent            it is not there
│   └── UpstreamUnknown, NameUnknown, ManifestUnknown, BlobUnknown, ReferrersUnsupported, RouteUnknown
├── UpstreamFault     the registry behind us
│   ├── Outage        it did not answer as a working registry: a known tag may be served stale
│   │   ├── UpstreamUnreachable, UpstreamOffline, UpstreamTimeout, UpstreamFailed, RateLimited, CredentialsFailed
│   │   └── UpstreamLoops
│   ├── UpstreamRefused       it answered, and the answer is no
│   ├── UpstreamBroken        it broke the protocol: status, headers, size or form
│   └── WrongBytes            it sent bytes that are not those of the digest
└── OwnFault          us
    └── Overloaded, NoSpace, StoreFailed, LoginsUnproven, LoopDetected

An outage is never a refusal and a refusal never an outage.

A fault has two readers. ``str()`` is the operator's sentence, for the log: it may name hosts, users and paths, and
quote what an upstream said, but no secret. A client reads the words of the kind (``front/faults.py``) with the fault's
``hint`` and what ``explained`` added, and nothing else: so a new fault tells no client anything by itself.
"""

from enum import Enum
from typing import TypeVar

E = TypeVar("E", bound=Exception)


class Hint(Enum):
    """Why, as far as a client is told beyond the kind: parts of sentences of ours, into which nothing can get that
    another host wrote."""

    UNCONNECTED = "no connection can be made"
    UNTRUSTED = "its certificate is not valid"
    ASKED_ANONYMOUSLY = "it was asked without credentials"
    ASKED_BY_ANONYMOUS_TOKEN = "it was asked with an anonymous token"
    ASKED_FOR_NOTHING = "it asked for no credentials, so none were sent"
    LOGIN_REFUSED = "its token server does not take the login that this cache has for it"
    NO_TOKEN = "its token server gives no token"
    REALM_UNTRUSTED = "its token server is not trusted with this cache's login: 'realms' can list it"
    STORAGE_REFUSED = "the storage host that it redirects to refused"
    PAGE = "a page for people stands in its place"
    NOT_A_MANIFEST = "what it sent is not a manifest"
    TOO_LARGE = "it is larger than this cache accepts"
    NO_AWS_CREDENTIALS = "this cache found no AWS credentials"
    AWS_DENIED = "AWS denies this cache what it asked for"


class Fault(Exception):
    """The root. ``str()`` of any kind is a sentence for the operator; of a RequestFault, RouteUnknown,
    UpstreamUnknown and LoopDetected, which are about the client's own request alone, also for the client."""

    hint: Hint | None = None
    added = ""  # by ``explained``


class RequestFault(Fault):
    """The request itself is wrong; the same request will never do."""


def _shown(text: str) -> str:
    """At most 128 characters, printable ASCII only, so that a hostile name can neither flood nor forge a log line."""
    cut = text if len(text) <= 128 else text[:125] + "..."
    return ascii(cut)


class NameInvalid(RequestFault):
    def __init__(self, name: str) -> None:
        super().__init__(f"{_shown(name)} is not a repository name")


class TagInvalid(RequestFault):
    def __init__(self, tag: str) -> None:
        super().__init__(f"{_shown(tag)} is not a tag")


class DigestInvalid(RequestFault):
    def __init__(self, digest: str) -> None:
        super().__init__(f"{_shown(digest)} is not a sha256 or sha512 digest")


class PageInvalid(RequestFault):
    def __init__(self, value: str) -> None:
        super().__init__(f"n={_shown(value)} is not a number of results")


class RangeUnsatisfiable(RequestFault):
    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"the range begins behind the end of a blob of {size} bytes")


class SeveralRanges(RequestFault):
    def __init__(self) -> None:
        super().__init__("ask for one range at a time")


class HostUnknown(RequestFault):
    """Asked by a name that is none of the listener's: a page whose own name was made to point here asks so."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{_shown(host)} is not a name of this listener; add it to 'host_names' to allow it")


class MethodUnsupported(RequestFault):
    def __init__(self, method: str) -> None:
        super().__init__(f"{_shown(method)} is not supported: this is a pull-through cache, it takes GET and HEAD")


class VersionUnsupported(RequestFault):
    def __init__(self, version: str) -> None:
        super().__init__(f"HTTP {_shown(version)} is not spoken here: HTTP/1.1 is")


class BodyRefused(RequestFault):
    def __init__(self) -> None:
        super().__init__("a pull has no request body")


class RequestMalformed(RequestFault):
    """Not a request that a registry client sends: the connection is not to be trusted further."""


class LoginFault(Fault):
    """Whoever asks has not proven who he is. ``challenge`` is the value of WWW-Authenticate that tells how to (RFC 9110
    section 11.6.1)."""

    challenge = ""


class LoginNeeded(LoginFault):
    """He has not said who he is, and what he asks for is not for everybody, whether it is there or not."""

    def __init__(self, challenge: str) -> None:
        self.challenge = challenge
        super().__init__("a login is needed")


class LoginRefused(LoginFault):
    """What came as a login is none, or none any more. ``why`` holds no secret."""

    def __init__(self, why: str, challenge: str = "") -> None:
        self.why = why
        self.challenge = challenge
        super().__init__(f"a login is refused: {why}")


class Absent(Fault):
    """What was asked for does not exist."""


class RouteUnknown(Absent):
    def __init__(self, path: str) -> None:
        super().__init__(f"{_shown(path)} is not a path of the OCI distribution API")


class UpstreamUnknown(Absent):
    def __init__(self, upstream: str) -> None:
        super().__init__(f"{_shown(upstream)} is not a configured upstream; add it under 'upstreams' to allow it")


class NameUnknown(Absent):
    pass


class ManifestUnknown(Absent):
    pass


class BlobUnknown(Absent):
    pass


class ReferrersUnsupported(Absent):
    """The upstream has no referrers API; clients fall back to the referrers tag."""


class UpstreamFault(Fault):
    """The registry behind us is to blame. ``upstream`` is its configured name; ``why`` is for the operator."""

    def __init__(self, upstream: str, why: str, hint: Hint | None = None) -> None:
        self.upstream = upstream
        self.hint = hint
        super().__init__(f"{upstream}: {why}")


class Outage(UpstreamFault):
    """The upstream does not work at the moment; asking again later may do."""


class UpstreamUnreachable(Outage):
    """No connection: refused, no such host, TLS failed, address forbidden by policy; or one that was lost.

    ``origin`` is what no connection could be made to, None where there was one.
    """

    def __init__(self, upstream: str, why: str, origin: str | None = None, hint: Hint | None = None) -> None:
        self.origin = origin
        super().__init__(upstream, why, hint)


class UpstreamOffline(Outage):
    """The configuration says that it is not to be asked, here or in the cache that is asked in its place. What is not
    held does not exist here."""

    def __init__(self, upstream: str, why: str = "is offline by configuration, and nothing is fetched from it") -> None:
        super().__init__(upstream, why)


class UpstreamLoops(Outage):
    """The way to it leads in a circle of caches, back to where it began."""


class UpstreamTimeout(Outage):
    """No answer within the time allowed."""


class UpstreamFailed(Outage):
    """It answered 5xx, or something else answers in its place: a page for people, a gateway, a portal."""


class RateLimited(Outage):
    """It answered 429. ``retry_after`` is in seconds, already capped."""

    def __init__(self, upstream: str, why: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(upstream, why)


class CredentialsFailed(Outage):
    """Our own credentials for it cannot be had: nobody was asked, so nobody has said no."""


class UpstreamRefused(UpstreamFault):
    """401 or 403 after our credentials, if any, were tried: no right to this repository. ``disbelieved``: it is the
    login itself that is refused, whatever it was for."""

    disbelieved = False


class UpstreamBroken(UpstreamFault):
    """It broke the protocol: a status or headers that do not fit the question, not a manifest, endless redirects. Says
    nothing about bytes that came."""


class WrongBytes(UpstreamFault):
    """Bytes that hash to another digest than the one asked for. ``upstream`` is the origin that sent them."""


class OwnFault(Fault):
    """Entrepot itself cannot."""


class Overloaded(OwnFault):
    """Bounds on connections, fills or queues are reached. ``retry_after`` is in seconds."""

    def __init__(self, why: str, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(why)


class LoopDetected(OwnFault):
    """It comes from ourselves: whoever asks would wait for his own answer."""

    def __init__(self, caches: int) -> None:
        """``caches`` are in the circle."""
        self.caches = caches
        if caches == 1:
            why = "this cache asks itself in a circle: the url of its upstream leads back to it"
        else:
            why = f"{caches} caches ask each other in a circle: the url of an upstream of one of them leads back"
        super().__init__(why)


class NoSpace(OwnFault):
    """The store or the byte budget has no room; content passes through uncached."""


class StoreFailed(OwnFault):
    """The store answered with an I/O error, or holds something that is not what it says."""


class LoginsUnproven(OwnFault):
    """What logins are proven by cannot be had, so nobody has said no."""


class ContentMissing(OwnFault):
    """The store does not hold what the catalog says: a miss, never an error for a client."""


F = TypeVar("F", bound=Fault)


def hinted(fault: F, hint: Hint) -> F:
    """The same fault, with a hint for both of its readers."""
    again = afresh(fault)
    again.args = (f"{fault}; {hint.value}",)
    again.hint = hint
    return again


def explained(fault: F, more: str) -> F:
    """The same fault, saying more to both of its readers: ``more`` is words of ours about what this client may pull."""
    again = afresh(fault)
    again.args = (f"{fault}; {more}",)
    again.added = f"{fault.added}; {more}" if fault.added else more
    return again


def afresh(fault: E) -> E:
    """A new exception of the same kind, facts and text: one instance that is raised again and again would gather
    tracebacks."""
    again = type(fault).__new__(type(fault), *fault.args)
    again.__dict__.update(fault.__dict__)
    return again
