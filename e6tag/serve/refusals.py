"""Why a request is refused: codes, their statuses, and the JSON that says so."""

from enum import StrEnum

from aiohttp import web


class Code(StrEnum):
    """What went wrong, for programs. The description of the API lists them all."""

    BAD_REQUEST = "bad_request"
    BAD_PARAMETER = "bad_parameter"
    NO_IMAGE = "no_image"
    NOT_AN_IMAGE = "not_an_image"
    DAMAGED_IMAGE = "damaged_image"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_IMAGES = "too_many_images"
    TOO_MUCH_MEMORY = "too_much_memory"
    DECODING_TOOK_TOO_LONG = "decoding_took_too_long"
    DECODER_CRASHED = "decoder_crashed"
    UPLOAD_TOOK_TOO_LONG = "upload_took_too_long"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    FOREIGN_ORIGIN = "foreign_origin"
    FOREIGN_HOST = "foreign_host"
    UNKNOWN_TAG = "unknown_tag"
    NO_INDEX = "no_index"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BUSY = "busy"
    INTERNAL_ERROR = "internal_error"


STATUSES = {
    Code.BAD_REQUEST: 400,
    Code.BAD_PARAMETER: 400,
    Code.NO_IMAGE: 400,
    Code.TOO_MANY_IMAGES: 400,
    Code.FOREIGN_ORIGIN: 403,
    Code.UNKNOWN_TAG: 404,
    Code.NO_INDEX: 404,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.UPLOAD_TOOK_TOO_LONG: 408,
    Code.TOO_MANY_BYTES: 413,
    Code.TOO_MANY_PIXELS: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.FOREIGN_HOST: 421,
    Code.NOT_AN_IMAGE: 422,
    Code.DAMAGED_IMAGE: 422,
    Code.TOO_MUCH_MEMORY: 422,
    Code.DECODING_TOOK_TOO_LONG: 422,
    Code.DECODER_CRASHED: 422,
    Code.INTERNAL_ERROR: 500,
    Code.BUSY: 503,
}
"""HTTP status by code."""

RETRY_AFTER = 1
"""Seconds that a client waits after 503: some batches later there is room."""


class Refusal(Exception):
    """A request, or one image of it, that gets no answer. message: one sentence."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status of a response that refuses the whole request."""
        return STATUSES[self.code]

    def to_json(self) -> dict[str, str]:
        """Returns the object that says why."""
        return {"code": self.code.value, "message": self.message}


def response(refusal: Refusal, headers: dict[str, str] | None = None) -> web.Response:
    """Returns the response that refuses a request."""
    answer = web.json_response(
        {"error": refusal.to_json()}, status=refusal.status, headers=headers
    )
    if refusal.code is Code.BUSY:
        answer.headers["Retry-After"] = str(RETRY_AFTER)
    if refusal.code is Code.UPLOAD_TOOK_TOO_LONG:
        answer.force_close()
    return answer
