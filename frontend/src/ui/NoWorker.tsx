import { Alert, Code } from "@mantine/core";
import { IconPlugConnectedX } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import type { Job, Sentence } from "../api/types";
import { useHealth } from "./server";

const TOLD: ReadonlySet<string> = new Set(["no_worker", "redis_refuses"] satisfies Sentence["kind"][]);

/** Whether a job waits for what ``NoWorker`` says, more exactly, of the whole server. */
export function toldByNoWorker(job: Job): boolean {
  return TOLD.has(job.waiting_sentence?.kind ?? "");
}

/** Says which part jobs wait for, if one is missing, and how to start it. */
export function NoWorker() {
  const { t } = useTranslation("jobs");
  const health = useHealth().data;
  if (!health) return null;
  if (!health.redis) return <Missing title={t("noRedis")} fix={t("noRedisFix")} />;
  if (health.redis_refuses)
    return <Missing title={t("redisRefuses")} fix={t("redisRefusesFix")} code={health.redis_refuses} />;
  if (health.starting)
    return <Missing title={t("serverStarting")} fix={t("serverStartingAbout")} colour="blue" />;
  if (!health.controller_connected)
    return <Missing title={t("noController")} fix={t("noControllerFix")} code="tunescope controller" />;
  if (!health.worker_connected)
    return <Missing title={t("noWorker")} fix={t("noWorkerFix")} code="tunescope worker" />;
  return null;
}

type Told = { title: string; fix: string; code?: string; colour?: string };

function Missing({ title, fix, code, colour = "yellow" }: Told) {
  return (
    <Alert color={colour} icon={<IconPlugConnectedX size={18} aria-hidden />} title={title}>
      {fix} {code && <Code>{code}</Code>}
    </Alert>
  );
}
