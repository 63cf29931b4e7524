import { Anchor, Button, Code, Group, Skeleton, Stack, Table, Text } from "@mantine/core";
import { IconFileDownload, IconFileZip, IconFolderOpen } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { type Job, TERMINAL } from "../../api/types";
import { Copy } from "../../ui/Copy";
import { Empty } from "../../ui/Empty";
import { Problem } from "../../ui/Problem";
import { formatBytes } from "../../units";
import { CARD, HowToLoad } from "./HowToLoad";
import { Merge } from "./Merge";
import { useFiles } from "./useFiles";

const SHOWN_DIGITS = 12;
const ADAPTER = "adapter_config.json";

/** What the run left: each file with its size and checksum. */
export function Files({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const files = useFiles(job);
  if (files.error) return <Problem error={files.error} retry={files.refetch} />;
  if (files.isPending) return <Skeleton height={160} radius={12} />;
  if (files.data.length === 0)
    return (
      <Empty
        icon={<IconFolderOpen size={26} />}
        title={t(TERMINAL.has(job.state) ? "noFiles" : "noFilesYet")}
        about={t(whyNone(job.state))}
      />
    );
  const card = files.data.find((file) => file.name === CARD);
  const adapter = files.data.some((file) => file.name === ADAPTER);
  const total = files.data.reduce((sum, file) => sum + file.bytes, 0);
  return (
    <Stack gap="sm">
      <Group justify="space-between" gap="sm">
        <Text size="sm" className="muted">
          {t("filesTotal", { count: files.data.length, size: formatBytes(total) })}
        </Text>
        <Button
          component="a"
          href={`/api/jobs/${encodeURIComponent(job.id)}/artifacts.zip`}
          download
          size="xs"
          variant="default"
          leftSection={<IconFileZip size={16} aria-hidden />}
        >
          {t("downloadAll")}
        </Button>
      </Group>
      <div className="card flush">
        <Table.ScrollContainer minWidth={300} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
          <Table horizontalSpacing="md" verticalSpacing="xs">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t("file")}</Table.Th>
                <Table.Th>{t("size")}</Table.Th>
                <Table.Th visibleFrom="xs">SHA-256</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {files.data.map((file) => (
                <Table.Tr key={file.name}>
                  <Table.Td>
                    <Anchor href={file.url} download>
                      <Group gap={6} wrap="nowrap">
                        <IconFileDownload size={16} aria-hidden />
                        <span style={{ overflowWrap: "anywhere" }}>{file.name}</span>
                      </Group>
                    </Anchor>
                  </Table.Td>
                  <Table.Td style={{ whiteSpace: "nowrap" }}>{formatBytes(file.bytes)}</Table.Td>
                  <Table.Td visibleFrom="xs">
                    {file.sha256 && (
                      <Group gap="xs" wrap="nowrap">
                        <Code title={file.sha256}>{file.sha256.slice(0, SHOWN_DIGITS)}…</Code>
                        <Copy value={file.sha256} label={t("copySha")} />
                      </Group>
                    )}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      </div>
      {adapter && TERMINAL.has(job.state) && <Merge job={job} />}
      {card && <HowToLoad card={card} />}
    </Stack>
  );
}

function whyNone(state: Job["state"]): string {
  if (state === "succeeded") return "filesGone";
  return TERMINAL.has(state) ? "noFilesAbout" : "noFilesYetAbout";
}
