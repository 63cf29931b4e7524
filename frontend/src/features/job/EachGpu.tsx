import { Table, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { gpuOfSource, sourceOfEachGpu } from "../../api/gpuSource";
import { type Job, TERMINAL } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { useSourceName } from "../../i18n/source";
import { formatBytes } from "../../units";

/** What a job on several GPUs holds of each of them; nothing on one. */
export function EachGpu({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const nameOf = useSourceName();
  const said = useSaid();
  const figures = job.latest?.memory ?? [];
  const sources = sourceOfEachGpu(figures.map(({ source }) => source));
  const shown = sources.flatMap((of) => figures.filter(({ source }) => source === of));
  if (shown.length === 0) return null;
  return (
    <Table.ScrollContainer minWidth={480} mt="md" scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t("eachGpu")}</Table.Th>
            <Table.Th>{t(TERMINAL.has(job.state) ? "highestOfRun" : "highestSoFar")}</Table.Th>
            <Table.Th>{t("peakOfNewestStep")}</Table.Th>
            <Table.Th>{t("measuredBy")}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {shown.map((figure) => {
            const { gpu, who } = gpuOfSource(figure.source);
            return (
              <Table.Tr key={figure.source}>
                <Table.Td>
                  {t("gpuOfJob", { gpu, gpus: job.gpus.length })}
                  <Text size="xs" className="muted">
                    {job.gpus[gpu - 1]}
                  </Text>
                </Table.Td>
                <Table.Td>{formatBytes(job.peaks[figure.source])}</Table.Td>
                <Table.Td>{formatBytes(figure.peak_bytes ?? figure.bytes)}</Table.Td>
                <Table.Td>
                  {figure.unknown_because
                    ? said(figure.unknown_because, figure.unknown_sentence)
                    : nameOf(who)}
                </Table.Td>
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
