/** Several words in a row, as the page's language puts them. */
export function listed(words: string[]): string {
  return words.join(document.documentElement.lang.startsWith("zh") ? "、" : ", ");
}
