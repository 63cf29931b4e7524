import { Alert, Button, Group, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import type { Job } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { needsOtherSettings } from "./cure";
import { FailedMemory } from "./FailedMemory";
import { LastLines } from "./LastLines";
import type { LiveJob } from "./liveJob";
import { Relaunch } from "./Relaunch";

const RELEVANT_LINES = 12;

type Props = { failure: NonNullable<Job["failure"]>; live: LiveJob; jobId: string };

/** Why it failed, what to do, and the last lines that the trainer wrote. */
export function Failure({ failure, live, jobId }: Props) {
  const { t } = useTranslation("job");
  const said = useSaid();
  const { memory, detail_sentence: sentence, last_lines: told = [] } = failure;
  const { items } = useSyncExternalStore(live.lines.onChange, live.lines.snapshot);
  const lines = told.length > 0 ? told : items.slice(-RELEVANT_LINES).map((line) => line.line);
  return (
    <Alert
      color="red"
      role="alert"
      icon={<IconAlertTriangle size={18} aria-hidden />}
      title={t(`reason_${failure.reason}`, t("reason_other"))}
    >
      <Text style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
        {/* The English detail tells as well what is shown below. */}
        {said(sentence?.text ?? failure.detail, sentence)}
      </Text>
      {memory && <FailedMemory memory={memory} />}
      {failure.advice && (
        <Text mt="xs">
          <b>{t("whatNext")}</b> {said(failure.advice, failure.advice_sentence)}
        </Text>
      )}
      <Relaunch
        jobId={jobId}
        suggestions={failure.suggestions ?? []}
        certain={failure.reason === "out_of_memory"}
      />
      <LastLines lines={lines} />
      <Group mt="sm" gap="xs">
        {/* Where nothing else helps it is the main action of the page, above. */}
        {!needsOtherSettings(failure) && (
          <Button size="xs" variant="default" component={Link} to="/new" search={{ from: jobId } as never}>
            {t("changeAndRun")}
          </Button>
        )}
        <Button size="xs" variant="default" component={Link} to="." search={{ tab: "log" } as never}>
          {t("wholeLog")}
        </Button>
      </Group>
    </Alert>
  );
}
