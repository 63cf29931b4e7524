/** The newcomer's first run: QLoRA of the built-in model on the built-in data set, a minute or two on a CPU. */
export const DEMO_SPEC = {
  name: "first-qlora-run",
  model: { id: "smollm2-135m-instruct", source: "library" },
  batch: { per_device_train_batch_size: 1, gradient_accumulation_steps: 1 },
  data: { dataset: "vram-questions", max_length: 256 },
  optimizer: { learning_rate: 0.0005 },
  schedule: { max_steps: 20 },
};
