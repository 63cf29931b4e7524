import { Alert, Code } from "@mantine/core";
import { IconPlugConnectedX } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useHealth } from "./server";

/** Says that queued jobs wait for a worker, and how to start one. */
export function NoWorker() {
  const { t } = useTranslation("jobs");
  const health = useHealth();
  if (!health.data || health.data.worker_connected) return null;
  return (
    <Alert color="yellow" icon={<IconPlugConnectedX size={18} aria-hidden />} title={t("noWorker")}>
      {t("noWorkerFix")} <Code>tunescope worker</Code>
    </Alert>
  );
}
