/** The two sides of a comparison as the address keeps them: a recipe or job each, and what was changed. */

export type Changes = Record<string, unknown>;
export type Side = { of: string; changes: Changes };
export type Pair = { a: Side; b: Side };

const LENGTH = "data.max_length";
const BATCH = "batch.per_device_train_batch_size";

const side = (of: string, tokens: number): Side => ({ of, changes: { [LENGTH]: tokens, [BATCH]: 1 } });

/** The seed's question first; each is one click. */
export const QUESTIONS: Record<string, Pair> = {
  lora: { a: side("qwen-official-lora", 512), b: side("swift-2024-lora", 512) },
  longer: { a: side("qwen-official-lora", 2048), b: side("swift-2024-lora", 2048) },
  full: { a: side("qwen-official-full", 512), b: side("swift-2024-full", 512) },
  base: { a: side("qwen-official-lora-base", 512), b: side("swift-2024-lora", 512) },
  qlora: { a: side("qwen-official-qlora", 2048), b: side("swift-2024-qlora", 2048) },
};
export const FIRST_QUESTION = QUESTIONS.lora as Pair;

type Address = Record<string, string | undefined>;

/** One side alone is compared with itself: what a changed setting of it would do. */
export function pairOf({ a, b, ac, bc }: Address): Pair {
  const [one, other] = [a ?? b, b ?? a];
  if (!one || !other) return FIRST_QUESTION;
  return { a: { of: one, changes: parsed(ac) }, b: { of: other, changes: parsed(bc) } };
}

export function addressOf({ a, b }: Pair): Address {
  return { a: a.of, b: b.of, ac: written(a.changes), bc: written(b.changes) };
}

export function samePair(one: Pair, other: Pair): boolean {
  return JSON.stringify(addressOf(one)) === JSON.stringify(addressOf(other));
}

/** Whether there is nothing to explain yet, as when the page is opened with one job. */
export function sameSides({ a, b }: Pair): boolean {
  return samePair({ a, b }, { a: b, b: a });
}

/** ``data.max_length:512;precision.quantization:nf4``: short enough to read in a link. */
function written(changes: Changes): string {
  return Object.entries(changes)
    .map(([path, value]) => `${path}:${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(";");
}

function parsed(text = ""): Changes {
  const changes: Changes = {};
  for (const part of text.split(";")) {
    const cut = part.indexOf(":");
    if (cut > 0) changes[part.slice(0, cut)] = read(part.slice(cut + 1));
  }
  return changes;
}

function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export type Published = {
  id: string;
  source: string;
  recipe: string | null;
  tokens: number;
  gpus: number;
  gpu: string;
  bytes_per_gpu: number;
  printed: string;
  notes: string;
  /** False where the figure is torch's own: CUDA's context is not in it. */
  counts_context: boolean;
};

/** Measurements published for a side as it stands: only its length may differ, and they were made at micro batch 1. */
export function publishedFor({ of, changes }: Side, rows: Published[]): Published[] {
  const others = Object.keys(changes).filter((path) => path !== LENGTH && path !== BATCH);
  if (others.length > 0 || (changes[BATCH] ?? 1) !== 1) return [];
  return rows.filter((row) => row.recipe === of);
}
