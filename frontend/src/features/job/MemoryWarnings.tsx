import { Alert, Button, Collapse, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import { type Job, TERMINAL } from "../../api/types";
import { useSaid } from "../../i18n/sentence";

const REFRESH_MILLISECONDS = 3000;

/** What was seen about memory while the job runs: climbs, outliers, other programs. The newest is always in sight. */
export function MemoryWarnings({ job }: { job: Job }) {
  const { t } = useTranslation("measured");
  const said = useSaid();
  const [open, { toggle }] = useDisclosure();
  const warnings = useQuery({
    queryKey: ["warnings", job.id],
    queryFn: () => answer(api.GET("/api/jobs/{job_id}/warnings", { params: { path: { job_id: job.id } } })),
    refetchInterval: TERMINAL.has(job.state) ? false : REFRESH_MILLISECONDS,
  });
  const [newest, ...older] = warnings.data?.items ?? [];
  if (!newest) return null;
  return (
    <Alert
      color="yellow"
      icon={<IconAlertTriangle size={18} aria-hidden />}
      title={t(`warning_${newest.code}`, { step: newest.step })}
      role="status"
      styles={{ message: { overflowWrap: "anywhere" } }}
    >
      {said(newest.message, newest.message_sentence)}
      {older.length > 0 && (
        <>
          <Button variant="subtle" size="compact-xs" ml="xs" onClick={toggle} aria-expanded={open}>
            {t("olderWarnings", { count: older.length })}
          </Button>
          <Collapse in={open}>
            {older.map((warning) => (
              <Text key={`${warning.attempt}-${warning.sequence}`} size="sm" mt={4}>
                {said(warning.message, warning.message_sentence)}
              </Text>
            ))}
          </Collapse>
        </>
      )}
    </Alert>
  );
}
