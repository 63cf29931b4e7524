import { Alert, Button, Group, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import type { Job } from "../../api/types";
import { useTold } from "../../i18n/told";
import { FailedMemory } from "./FailedMemory";
import type { LiveJob } from "./liveJob";
import { Relaunch } from "./Relaunch";

const RELEVANT_LINES = 12;
/** How worker/death.py introduces the end of the log. */
const LAST_LINES = /\n+Last lines of its log:\n/;
/** How worker/oom.py tells in words what is drawn here. */
const ACCOUNT = /\nHeld (?:then|at the peak of step \d+): .*/;

type Props = { failure: NonNullable<Job["failure"]>; live: LiveJob; jobId: string };

/** Why it failed, what to do, and the last lines that the trainer wrote. */
export function Failure({ failure, live, jobId }: Props) {
  const { t } = useTranslation("job");
  const told = useTold();
  const { memory } = failure;
  const drawn = memory && Object.keys(memory.categories ?? {}).length > 0;
  // A trainer that died without a last word has the end of its log in the detail already.
  const [detail = "", tail] = failure.detail.split(LAST_LINES);
  const { items } = useSyncExternalStore(live.lines.onChange, live.lines.snapshot);
  const lines = tail?.split("\n") ?? items.slice(-RELEVANT_LINES).map((line) => line.line);
  return (
    <Alert
      color="red"
      role="alert"
      icon={<IconAlertTriangle size={18} aria-hidden />}
      title={t(`reason_${failure.reason}`, t("reason_other"))}
    >
      <Text style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
        {told(drawn ? detail.replace(ACCOUNT, "") : detail)}
      </Text>
      {memory && <FailedMemory memory={memory} />}
      {failure.advice && (
        <Text mt="xs">
          <b>{t("whatNext")}</b> {told(failure.advice)}
        </Text>
      )}
      <Relaunch jobId={jobId} suggestions={failure.suggestions ?? []} />
      {lines.length > 0 && (
        <details style={{ marginTop: 10 }}>
          <summary>{t("lastLines")}</summary>
          <pre className="log" style={{ marginTop: 8 }}>
            {lines.join("\n")}
          </pre>
        </details>
      )}
      <Group mt="sm" gap="xs">
        <Button size="xs" variant="default" component={Link} to="/new" search={{ from: jobId } as never}>
          {t("changeAndRun")}
        </Button>
        <Button size="xs" variant="default" component={Link} to="." search={{ tab: "log" } as never}>
          {t("wholeLog")}
        </Button>
      </Group>
    </Alert>
  );
}
