/** What a data set may be called: as ``backend/datasets/names.py`` has it. */

/** In characters. */
export const LONGEST_NAME = 100;
const SECOND = "-2";

/** Another name for a file whose own is taken, one that the server takes; empty where the file's name has nothing to keep. */
export function anotherName(fileName: string): string {
  const own = fileName
    .normalize("NFC")
    .replace(/\.[^.]*$/, "")
    .replace(/[^\p{L}\p{N}\p{M}_.-]+/gu, "-")
    .replace(/^-+|-+$/g, "");
  const cut = [...own].slice(0, LONGEST_NAME - SECOND.length).join("");
  return cut && `${cut}${SECOND}`;
}
