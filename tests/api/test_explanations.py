"""The doors of "why does it need less": changed recipes, published figures, the catalogue."""

from json import dumps

from fastapi.testclient import TestClient


def test_a_changed_recipe_keeps_its_library_versions(admin: TestClient) -> None:
    same = admin.post("/api/explanations", json={"a": "swift-2024-lora", "b": {"of": "swift-2024-lora", "changes": {}}})
    assert same.status_code == 200, same.text
    assert same.json()["difference_bytes"] == 0
    changes = {"adaptation.r": 64, "data.max_length": 1024}
    body = {"a": "swift-2024-lora", "b": {"of": "swift-2024-lora", "changes": changes}}
    answer = admin.post("/api/explanations", json=body).json()
    moved = {part["section"]: part["bytes"] for part in answer["sections"]}
    assert moved["adaptation"] > 0 and moved["data"] < 0 and "libraries" not in moved
    assert sum(moved.values()) == answer["b"]["total_bytes"] - answer["a"]["total_bytes"]


def test_a_wrong_change_names_its_field(admin: TestClient) -> None:
    def loc(changes: dict[str, object]) -> str:
        body = {"a": "swift-2024-lora", "b": {"of": "swift-2024-lora", "changes": changes}}
        # As text of ours: half of a character, which JSON may have, is more than the client would send.
        answer = admin.post("/api/explanations", content=dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        return answer.json()["errors"][0]["loc"]

    assert loc({"adaptation.r": 0}) == "b.adaptation.r"
    assert loc({"adaptation.rank": 4}) == "b.adaptation.rank"
    assert loc({"nothing.here": 4}) == "b.nothing.here"
    assert loc({"name": 4}) == "b.name"
    assert loc({"\ud800.here": 4}) == "b.\ud800.here"


def test_published_figures_and_the_catalogue_are_served(admin: TestClient) -> None:
    published = admin.get("/api/published").json()["items"]
    assert any(row["recipe"] == "swift-2024-lora" and row["tokens"] == 512 for row in published)
    catalogue = admin.get("/api/catalogue").json()
    assert any(model["id"] == "Qwen/Qwen2.5-7B-Instruct" for model in catalogue["models"])
    assert any(gpu["name"] == "A100-80GB" for gpu in catalogue["gpus"])


def test_what_is_wrong_with_a_side_is_told_by_the_path_of_its_field(admin: TestClient) -> None:
    def errors(side: object) -> dict[str, str]:
        answer = admin.post("/api/explanations", json={"a": "swift-2024-lora", "b": side})
        assert answer.status_code == 422, answer.text
        return {error["loc"]: error["fix"] or error["message"] for error in answer.json()["errors"]}

    spec = {"model": {"id": "Qwen/Qwen2.5-7B-Instruct"}, "data": {"dataset": "d"}}
    assert errors({**spec, "batch": {"per_device_train_batch_size": 0}}) == {
        "b.batch.per_device_train_batch_size": "give a number from 1 to 65536"
    }
    assert errors({"data": {"dataset": "d"}}).keys() == {"b.model"}
    assert errors({"of": "swift-2024-lora"}).keys() == {"b.changes"}
    assert errors({"of": 5, "changes": {}, "more": 1}).keys() == {"b.of", "b.more"}
    assert errors("no-such-recipe").keys() == errors("x" * 101).keys() == {"b"}
    for nothing in (5, None, True, ["swift-2024-lora"]):
        assert "the id of a job" in errors(nothing)["b"]
    assert errors({**spec, "model": {"id": "nobody/nothing", "source": "catalogue"}}).keys() == {"b.model.id"}
