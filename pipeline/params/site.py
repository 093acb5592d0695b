"""The parameters of `site`: where everything comes from, and how politely."""

from typing import Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from pipeline.param_models import Section

E621_URL = "https://e621.net"
"""Origin of the API and of the pages of posts."""

SiteName = Literal["sandbox", "openclipart", "e621", "custom"]

SITE_NAMES: tuple[str, ...] = get_args(SiteName)
"""The only names of a site that the lineage and the bundle hold."""

# requests/s to the real hosts, the site's documented hard limit (contract section 5)
CEILING_REQUESTS_PER_SECOND = 2.0
# requests/s, what the site requests of its clients (contract section 5)
DEFAULT_REQUESTS_PER_SECOND = 1.0


class Site(Section):
    """Where the metadata and the images come from, and how politely they are read."""

    name: SiteName = Field(
        default="sandbox",
        description="sandbox and openclipart run on this machine; custom is any "
        "server that follows the same contract",
    )
    base_url: str | None = Field(
        default=None,
        description="custom only: origin of the API, such as http://127.0.0.1:8621",
    )
    static_url: str | None = Field(
        default=None,
        description="custom only: origin below which /data/ab/cd/<md5>.<ext> is served",
    )
    contact: str | None = Field(
        default=None,
        description='whom the site can write to, such as "your_name on e621"; sent '
        "with every request, and required for a real site",
    )
    terms_read: bool = Field(
        default=False,
        description="true confirms that you have read the site's terms and bot rules; "
        "required for a real site",
    )
    requests_per_second: float | None = Field(
        default=None,
        gt=0,
        description="limit over all requests together; null: no limit on this "
        "machine, 1 at real sites, which are never sent more than 2",
    )
    concurrency: int = Field(
        default=32,
        ge=1,
        le=256,
        description="requests in flight at once; at 1 request/s, 4 are enough",
    )
    login: str | None = Field(
        default=None,
        description="account name; its API key is read from the environment variable "
        "E6TAG_API_KEY only",
    )
    sandbox_posts: int = Field(
        default=30_000,
        ge=100,
        le=30_000,
        description="posts of the sandbox board; the pin must match (e6tag refresh)",
    )
    sandbox_day: Literal[1, 2] = Field(
        default=1,
        description="2: the same sandbox board a day later; the pin must match (e6tag "
        "refresh)",
    )

    @model_validator(mode="after")
    def _addresses_belong_to_custom_sites(self) -> Self:
        given = self.base_url is not None and self.static_url is not None
        if self.name == "custom" and not given:
            raise ValueError("site.name custom needs both base_url and static_url")
        if self.name != "custom" and (self.base_url or self.static_url):
            raise ValueError(
                f"base_url and static_url are for site.name: custom, not {self.name}"
            )
        return self

    @model_validator(mode="after")
    def _addresses_hold_no_password(self) -> Self:
        for url in (self.base_url, self.static_url):
            if "@" in urlsplit(url or "").netloc:
                raise ValueError(
                    "base_url and static_url must hold no user name and no password: "
                    "snapshot.json repeats base_url. Set site.login and export "
                    "E6TAG_API_KEY"
                )
        return self
