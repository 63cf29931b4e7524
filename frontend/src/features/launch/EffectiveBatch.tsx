import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { SpecSchema } from "../../spec/schema";
import { read } from "../../spec/spec";
import type { DraftState } from "./draft";

const FACTORS = [
  "batch.per_device_train_batch_size",
  "batch.gradient_accumulation_steps",
  "parallelism.gpus",
];

/** How many rows one optimizer step learns from: the product of three fields, of which only the first costs memory. */
export function EffectiveBatch({ draft, schema }: { draft: DraftState; schema: SpecSchema }) {
  const { t } = useTranslation("launch");
  const [micro = 0, steps = 0, gpus = 0] = FACTORS.map((path) =>
    Number(read(draft.spec, path) ?? schema.byPath.get(path)?.fallback),
  );
  const rows = micro * steps * gpus;
  if (!Number.isFinite(rows)) return null;
  return (
    <Text size="sm" className="muted" mt="md">
      {t("effectiveBatch", { micro, steps, gpus, rows: rows.toLocaleString("en-US") })}
    </Text>
  );
}
