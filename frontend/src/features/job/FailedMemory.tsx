import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Job } from "../../api/types";
import { MemoryLedger } from "../../charts/MemoryLedger";
import { formatBytes } from "../../units";

type Memory = NonNullable<NonNullable<Job["failure"]>["memory"]>;

/** How the worker names main memory as a device. */
const CPU = "CPU";

/** What was held when an attempt died for lack of memory: by category, and beside it who else held something. */
export function FailedMemory({ memory }: { memory: Memory }) {
  const { t } = useTranslation("job");
  const ledger = memory.categories ?? {};
  const total = Object.values(ledger).reduce((sum, bytes) => sum + bytes, 0);
  const step = memory.categories_of_step;
  const when = step == null ? t("heldThen") : t("heldAtPeak", { step });
  const others = [
    {
      name: memory.device === CPU ? "residentThen" : "allocatedThen",
      value: memory.allocated_bytes && formatBytes(memory.allocated_bytes),
    },
    { name: "reservedThen", value: memory.reserved_bytes && formatBytes(memory.reserved_bytes) },
    { name: "othersThen", value: memory.other_processes_bytes && formatBytes(memory.other_processes_bytes) },
    { name: "longestThen", value: memory.longest_tokens?.toLocaleString("en-US") },
  ].filter(({ value }) => value);
  if (total === 0 && others.length === 0) return null;
  return (
    <div style={{ marginTop: 10 }}>
      {total > 0 && (
        <MemoryLedger
          ledger={ledger}
          totalBytes={total}
          capacityBytes={memory.device_bytes ?? undefined}
          label={`${when} · ${memory.device}`}
        />
      )}
      <Text size="sm" mt={6}>
        {others.map(({ name, value }) => t(name, { value })).join(" · ")}
      </Text>
    </div>
  );
}
