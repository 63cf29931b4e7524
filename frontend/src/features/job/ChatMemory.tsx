import { Stack, Table, Text, Title } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Estimate, Job } from "../../api/types";
import { MemoryLedger } from "../../charts/MemoryLedger";
import { useSaid } from "../../i18n/sentence";
import { Assumptions } from "../../ui/Assumptions";
import { formatBytes } from "../../units";
import type { Said } from "./useChat";

const LOADED = ["weights", "quantization_state", "adapters"];

/** What a chat was predicted to hold, and beside it what it does: the loaded tensors, keys and values, and who measured all of it. */
export function ChatMemory({ chat, said }: { chat: Job; said: Said }) {
  const { t } = useTranslation("chat");
  const sentence = useSaid();
  const estimate = chat.estimate as (Estimate & { kv_bytes_per_token: number }) | null;
  const { ready } = said;
  const newest = [...said.answers.values()].map(({ last }) => last).findLast((last) => last?.kv_bytes);
  const figures = chat.latest?.memory ?? [];
  // Beside what is measured stands what is predicted for the type that is computed in, which on a CPU may be another.
  const predicted = ready?.predicted ?? {};
  const loaded = LOADED.filter((name) => ready?.held[name] || predicted[name]);
  const typed = (chat.spec.precision as { dtype?: string } | undefined)?.dtype;
  return (
    <section className="card chat-memory" aria-label={t("memory")}>
      <Stack gap="md">
        <Title order={2}>{t("memory")}</Title>
        {estimate ? (
          <div>
            <MemoryLedger
              ledger={estimate.ledger}
              totalBytes={estimate.total_bytes}
              label={t("predicted", { device: estimate.device.name })}
            />
            <details style={{ marginTop: 8 }}>
              <summary>{t("assumptions")}</summary>
              <Assumptions assumptions={estimate.assumptions} sentences={estimate.assumption_sentences} />
            </details>
          </div>
        ) : (
          <Text size="sm">{t("noEstimate", { reason: chat.estimate_unknown_because ?? "" })}</Text>
        )}
        <div>
          <Text fw={600}>{t("keysAndValues")}</Text>
          {newest ? (
            <Text size="sm">
              {t("kvHeld", { tokens: newest.kv_tokens, bytes: formatBytes(newest.kv_bytes) })}{" "}
              <span className="muted">
                {t("kvEach", {
                  measured: formatBytes(newest.kv_bytes / newest.kv_tokens),
                  predicted: formatBytes(ready?.kv_bytes_per_token),
                  taken: formatBytes(newest.kv_taken_bytes),
                })}
              </span>
            </Text>
          ) : (
            <Text size="sm" className="muted">
              {t("kvNone")}
            </Text>
          )}
        </div>
        {ready && (
          <div>
            <Text fw={600} mb={4}>
              {t("loaded")}
            </Text>
            <Table withRowBorders={false} verticalSpacing={2}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th>{t("part")}</Table.Th>
                  <Table.Th ta="right">{t("columnPredicted")}</Table.Th>
                  <Table.Th ta="right">{t("columnMeasured")}</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {loaded.map((name) => (
                  <Table.Tr key={name}>
                    <Table.Td>{t(`charts:${name}`)}</Table.Td>
                    <Table.Td ta="right">{formatBytes(predicted[name])}</Table.Td>
                    <Table.Td ta="right">{formatBytes(ready.held[name] ?? 0)}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
            {ready.dtype !== typed && (
              <Text size="xs" className="muted">
                {t("otherType", { dtype: ready.dtype })}
              </Text>
            )}
          </div>
        )}
        {figures.length > 0 && (
          <div>
            <Text fw={600}>{t("measured")}</Text>
            {figures.map((figure) => (
              <div key={figure.source}>
                <Text size="sm">
                  {t(`by_${figure.source.replaceAll(".", "_")}`, figure.source)}:{" "}
                  <b>{formatBytes(figure.peak_bytes ?? figure.bytes)}</b>{" "}
                  {figure.source in chat.peaks && (
                    <span className="muted">
                      {t("highest", { bytes: formatBytes(chat.peaks[figure.source]) })}
                    </span>
                  )}
                </Text>
                {figure.unknown_because && (
                  <Text size="xs" className="muted">
                    {sentence(figure.unknown_because, figure.unknown_sentence)}
                  </Text>
                )}
              </div>
            ))}
            {chat.gpus.length === 0 && (
              <Text size="xs" className="muted" mt={4}>
                {t("cpuNote")}
              </Text>
            )}
          </div>
        )}
      </Stack>
    </section>
  );
}
