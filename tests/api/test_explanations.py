"""The doors of "why does it need less": changed recipes, published figures, the catalogue."""

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
        answer = admin.post("/api/explanations", json=body)
        assert answer.status_code == 422
        return answer.json()["errors"][0]["loc"]

    assert loc({"adaptation.r": 0}) == "b.adaptation.r"
    assert loc({"adaptation.rank": 4}) == "b.adaptation.rank"
    assert loc({"nothing.here": 4}) == "b.nothing.here"
    assert loc({"name": 4}) == "b.name"


def test_published_figures_and_the_catalogue_are_served(admin: TestClient) -> None:
    published = admin.get("/api/published").json()["items"]
    assert any(row["recipe"] == "swift-2024-lora" and row["tokens"] == 512 for row in published)
    catalogue = admin.get("/api/catalogue").json()
    assert any(model["id"] == "Qwen/Qwen2.5-7B-Instruct" for model in catalogue["models"])
    assert any(gpu["name"] == "A100-80GB" for gpu in catalogue["gpus"])
