"""The OpenAPI schema as it is: FastAPI's, with the problem details that each operation may answer."""

from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from backend.problems import MEDIA_TYPE, ProblemDetails

OPEN = {("get", "/api/health"), ("post", "/api/session")}
"""Operations that answer without signing in."""
MEANINGS = {
    400: "The request cannot be read",
    401: "Not signed in",
    403: "Not allowed, or a browser request without the CSRF header",
    404: "No such thing",
    409: "Not possible in this state",
    413: "Too large",
    422: "The input is not valid; errors[] names each field",
    429: "Too many tries",
    503: "A part of the server is not available now",
}


def statuses(method: str, path: str, operation: dict[str, Any]) -> list[int]:
    """Problem statuses that an operation may answer with."""
    reads = method == "get"
    found = [503] if (method, path) in OPEN else [401, 403, 503]
    if "{" in path:
        found.append(404)
    if operation.get("parameters") or not reads:
        found.append(422)
    if not reads:
        found += [409]
    if "requestBody" in operation:
        found += [400, 413]
    if (method, path) == ("post", "/api/session"):
        found += [401, 429]
    return sorted(found)


def install(app: FastAPI) -> None:
    """Make ``app.openapi()`` tell the truth about problems."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = openapi


def describe(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    components = cast(dict[str, Any], schema["components"]["schemas"])
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    details = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    components |= details.pop("$defs")
    components["ProblemDetails"] = details
    schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    schema["components"]["responses"] = {
        f"Problem{status}": {"description": meaning, "content": content} for status, meaning in MEANINGS.items()
    }
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            operation["responses"].pop("422", None)
            for status in statuses(method, path, operation):
                operation["responses"][str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
            if (method, path) not in OPEN:
                operation["security"] = [{"token": []}]
    return schema
