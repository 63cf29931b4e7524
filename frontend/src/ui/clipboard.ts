/** Text to the clipboard, also on a page that came over plain HTTP, where browsers offer no clipboard to scripts. */

/** Returns whether the text is on the clipboard. */
export async function copyText(text: string): Promise<boolean> {
  // There only in a secure context: HTTPS, or the server on this very machine.
  const clipboard: Clipboard | undefined = navigator.clipboard;
  try {
    await clipboard?.writeText(text);
    if (clipboard) return true;
  } catch {
    // Not allowed here: the older way may be.
  }
  return copySelected(text);
}

function copySelected(text: string): boolean {
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed"; // nothing scrolls when it is focused
  area.style.opacity = "0";
  document.body.append(area);
  area.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    area.remove();
    if (before instanceof HTMLElement) before.focus();
  }
}
