"""Notes and pins."""

from proxy.storage.contract import Catalog


async def test_pins_and_notes_are_kept(catalog: Catalog) -> None:
    notes = catalog.notes
    assert (await notes.pins(), await notes.note("scrub")) == ([], None)
    for pattern in ("b/*", "a/b:v1", "b/*"):
        await notes.pin(pattern)
    assert await notes.pins() == ["a/b:v1", "b/*"]
    assert [await notes.unpin("b/*"), await notes.unpin("b/*")] == [True, False]
    for text in ("one", "two"):
        await notes.write_note("scrub", text)
    assert await notes.note("scrub") == "two"
