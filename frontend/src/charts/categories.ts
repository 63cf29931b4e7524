/** The categories of memory in the order in which charts stack them (lasting ones below), and their colours. */

/** Colours that stay apart for colour-blind readers; every legend names each with its bytes. */
export const CATEGORY_COLOURS: Record<string, string> = {
  weights: "#0b7285",
  quantization_state: "#66a9b5",
  master_weights: "#8c510a",
  adapters: "#5f3dc4",
  optimizer_states: "#f2a33a",
  gradients: "#e8590c",
  kv_cache: "#1971c2",
  activations: "#2f9e44",
  logits_and_loss: "#a61e4d",
  workspace: "#868e96",
  communication: "#364fc7",
  fragmentation: "#adb5bd",
  runtime_context: "#495057",
};

const OTHER = "#868e96";

export function colourOf(category: string): string {
  return CATEGORY_COLOURS[category] ?? OTHER;
}

/** Categories that hold anything in any of these ledgers, lowest layer first; names unknown to us come last. */
export function stackOrder(ledgers: Record<string, number>[]): string[] {
  const found = new Set<string>();
  for (const ledger of ledgers)
    for (const [category, bytes] of Object.entries(ledger)) if (bytes > 0) found.add(category);
  const known = Object.keys(CATEGORY_COLOURS);
  return [
    ...known.filter((category) => found.has(category)),
    ...[...found].filter((name) => !known.includes(name)),
  ];
}
