import { Alert, Code } from "@mantine/core";
import { IconPlugConnectedX } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useHealth } from "./server";

/** Says which part jobs wait for, if one is missing, and how to start it. */
export function NoWorker() {
  const { t } = useTranslation("jobs");
  const health = useHealth().data;
  if (!health) return null;
  if (!health.redis) return <Missing title={t("noRedis")} fix={t("noRedisFix")} />;
  if (!health.controller_connected)
    return <Missing title={t("noController")} fix={t("noControllerFix")} command="tunescope controller" />;
  if (!health.worker_connected)
    return <Missing title={t("noWorker")} fix={t("noWorkerFix")} command="tunescope worker" />;
  return null;
}

function Missing({ title, fix, command }: { title: string; fix: string; command?: string }) {
  return (
    <Alert color="yellow" icon={<IconPlugConnectedX size={18} aria-hidden />} title={title}>
      {fix} {command && <Code>{command}</Code>}
    </Alert>
  );
}
