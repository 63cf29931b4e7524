/** The form is the spec: its sections, and for each field how it is entered. Defaults are the server's. */

export type Field = {
  path: string;
  kind: "choice" | "number" | "switch" | "text";
  options?: string[];
  min?: number;
  step?: number;
};

const choice = (path: string, ...options: string[]): Field => ({ path, kind: "choice", options });
const number = (path: string, min = 0, step = 1): Field => ({ path, kind: "number", min, step });
const toggle = (path: string): Field => ({ path, kind: "switch" });

export const SECTIONS: { name: string; fields: Field[] }[] = [
  {
    name: "adaptation",
    fields: [
      choice("adaptation.method", "lora", "full"),
      number("adaptation.r", 1),
      number("adaptation.lora_alpha", 1),
      number("adaptation.lora_dropout", 0, 0.05),
      toggle("adaptation.use_dora"),
      toggle("adaptation.use_rslora"),
    ],
  },
  {
    name: "precision",
    fields: [
      choice("precision.quantization", "nf4", "fp4", "int8", "none"),
      toggle("precision.double_quant"),
      choice("precision.dtype", "bfloat16", "float16", "float32"),
      choice("precision.adapter_dtype", "float32", "bfloat16"),
      toggle("precision.master_weights"),
    ],
  },
  {
    name: "batch",
    fields: [number("batch.per_device_train_batch_size", 1), number("batch.gradient_accumulation_steps", 1)],
  },
  {
    name: "data",
    fields: [
      number("data.max_length", 8, 64),
      toggle("data.packing"),
      toggle("data.assistant_only_loss"),
      number("data.eval_fraction", 0, 0.05),
    ],
  },
  {
    name: "memory_savers",
    fields: [
      toggle("memory_savers.gradient_checkpointing"),
      choice("memory_savers.attention", "sdpa", "eager", "flash_attention_2"),
      toggle("memory_savers.fused_loss"),
    ],
  },
  {
    name: "optimizer",
    fields: [
      choice(
        "optimizer.name",
        "adamw_torch",
        "adamw_torch_fused",
        "adamw_8bit",
        "paged_adamw_8bit",
        "adafactor",
        "sgd",
      ),
      number("optimizer.learning_rate", 0, 0.0001),
      choice("optimizer.lr_scheduler_type", "cosine", "linear", "constant"),
      number("optimizer.warmup_ratio", 0, 0.01),
      number("optimizer.max_grad_norm", 0, 0.5),
    ],
  },
  {
    name: "parallelism",
    fields: [
      number("parallelism.gpus", 1),
      choice("parallelism.strategy", "none", "ddp", "zero1", "zero2", "zero3", "fsdp"),
      choice("parallelism.offload", "none", "optimizer", "all"),
    ],
  },
  {
    name: "schedule",
    fields: [
      number("schedule.num_train_epochs", 0, 1),
      number("schedule.max_steps", 1),
      number("schedule.save_steps", 1),
    ],
  },
];

export const START = {
  name: "my-run",
  model: { id: "smollm2-135m-instruct", source: "library", revision: null },
  adaptation: {
    method: "lora",
    r: 8,
    lora_alpha: 32,
    lora_dropout: 0.05,
    use_dora: false,
    use_rslora: false,
  },
  precision: {
    quantization: "nf4",
    double_quant: true,
    dtype: "bfloat16",
    master_weights: false,
    adapter_dtype: "float32",
  },
  batch: { per_device_train_batch_size: 1, gradient_accumulation_steps: 16 },
  parallelism: { gpus: 1, strategy: "none", offload: "none" },
  data: {
    dataset: "vram-questions",
    max_length: 2048,
    packing: false,
    eval_fraction: 0,
    assistant_only_loss: true,
  },
  memory_savers: { gradient_checkpointing: true, attention: "sdpa", fused_loss: false },
  optimizer: {
    name: "adamw_torch",
    learning_rate: 0.0001,
    lr_scheduler_type: "cosine",
    warmup_ratio: 0.05,
    weight_decay: 0.01,
    max_grad_norm: 1,
  },
  schedule: { num_train_epochs: 1, max_steps: null, logging_steps: 1, save_steps: 100, seed: 42 },
};

type Tree = { [key: string]: unknown };

export function read(tree: Tree, path: string): unknown {
  return path.split(".").reduce<unknown>((value, key) => (value as Tree | undefined)?.[key], tree);
}

/** A copy of the tree with one value changed. */
export function write<T extends Tree>(tree: T, path: string, value: unknown): T {
  const [head = "", ...rest] = path.split(".");
  const child = rest.length ? write((tree[head] as Tree) ?? {}, rest.join("."), value) : value;
  return { ...tree, [head]: child };
}
