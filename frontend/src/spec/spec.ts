/** Reading and changing a job spec by dotted paths. */

export type Tree = { [key: string]: unknown };
export type DraftSpec = Tree & { name?: string; model?: Tree; data?: Tree };

/** What a new form holds: the demo, so that it can be launched as it is. The server fills in every other default. */
export const START: DraftSpec = {
  name: "my-run",
  model: { id: "smollm2-135m-instruct", source: "library" },
  data: { dataset: "vram-questions" },
};

export function read(tree: Tree, path: string): unknown {
  return path.split(".").reduce<unknown>((value, key) => (value as Tree | undefined)?.[key], tree);
}

/** A copy of the tree with one value changed. */
export function write<T extends Tree>(tree: T, path: string, value: unknown): T {
  const [head = "", ...rest] = path.split(".");
  const child = rest.length ? write((tree[head] as Tree) ?? {}, rest.join("."), value) : value;
  return { ...tree, [head]: child };
}
