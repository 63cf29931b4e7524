import { Button, Group, Tooltip } from "@mantine/core";
import {
  IconAdjustments,
  IconCopyPlus,
  IconPlayerPlay,
  IconPlayerStop,
  IconRefresh,
  IconTrash,
} from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ApiProblem, call } from "../../api/client";
import { type Job, TERMINAL } from "../../api/types";
import { useConfirm } from "../../ui/confirm";
import { useKeptFocus } from "../../ui/keptFocus";
import { Problem } from "../../ui/Problem";
import { useMe } from "../../ui/server";
import { needsOtherSettings } from "./cure";

/** Cancel, retry, clone, delete: only what this job's state and owner allow. */
export function Actions({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const queries = useQueryClient();
  const navigate = useNavigate();
  const confirm = useConfirm();
  const kept = useKeptFocus();
  const me = useMe().data;
  const change = useMutation({
    mutationFn: (action: "cancel" | "retry") => call<Job>("POST", `/jobs/${job.id}/${action}`),
    onMutate: (action) => {
      if (action === "cancel")
        queries.setQueryData(["job", job.id], { ...job, state: "cancelling" } satisfies Job);
      return job;
    },
    onSuccess: (updated) => queries.setQueryData(["job", job.id], updated),
    onError: (_error, _action, before) => {
      // What it was before stands until the server says what it is: it may not answer now.
      if (before) queries.setQueryData(["job", job.id], before);
      void queries.invalidateQueries({ queryKey: ["job", job.id] });
    },
  });
  const remove = useMutation({
    mutationFn: () => call<void>("DELETE", `/jobs/${job.id}`),
    onSuccess: () => navigate({ to: "/" }),
    onError: () => queries.invalidateQueries({ queryKey: ["job", job.id] }),
  });
  const ended = TERMINAL.has(job.state);
  const other = job.state === "failed" && needsOtherSettings(job.failure);
  const stopping = job.state === "cancelling";
  const mine = me && (me.role === "admin" || me.id === job.owner.id);
  // Somebody else was faster: what the job is by now says it all.
  const granted = isConflict(change.error) && (change.variables === "retry" ? !ended : ended || stopping);
  const problem = (granted ? null : change.error) ?? remove.error;
  const ask = (what: "cancel" | "delete", act: string, onConfirm: () => void) =>
    confirm({ title: t(`${what}Title`), about: t(`${what}About`), act, onConfirm });
  return (
    <>
      <Group gap="xs" aria-label={t("actions")} {...kept}>
        {mine && !ended && (
          <Button
            variant="default"
            // Not disabled: it would lose the keyboard's place, which comes back to it when the question is answered.
            data-disabled={stopping || undefined}
            aria-disabled={stopping}
            leftSection={<IconPlayerStop size={16} aria-hidden />}
            onClick={() => stopping || ask("cancel", t("cancelJob"), () => change.mutate("cancel"))}
          >
            {t("cancelJob")}
          </Button>
        )}
        {other && <Clone job={job} main />}
        {mine && (job.state === "failed" || job.state === "cancelled") && (
          <Again
            step={job.checkpoint_step ?? null}
            main={!other}
            pending={change.isPending && change.variables === "retry"}
            start={() => change.mutate("retry")}
          />
        )}
        {!other && <Clone job={job} main={false} />}
        {mine && ended && (
          <Button
            variant="subtle"
            color="red"
            leftSection={<IconTrash size={16} aria-hidden />}
            onClick={() => ask("delete", t("delete"), () => remove.mutate())}
          >
            {t("delete")}
          </Button>
        )}
      </Group>
      {problem && <Problem error={problem} />}
    </>
  );
}

function isConflict(error: unknown): boolean {
  return error instanceof ApiProblem && error.status === 409;
}

/** Leads to a new job that begins with this one's settings; ``main`` where nothing else would help. */
function Clone({ job, main }: { job: Job; main: boolean }) {
  const { t } = useTranslation("job");
  const Icon = main ? IconAdjustments : IconCopyPlus;
  return (
    <Button
      variant={main ? "filled" : "default"}
      component={Link}
      to="/new"
      search={{ from: job.id } as never}
      leftSection={<Icon size={16} aria-hidden />}
    >
      {t(main ? "changeAndRun" : "clone")}
    </Button>
  );
}

type AgainProps = { step: number | null; main: boolean; pending: boolean; start: () => void };

/** Runs a job that did not succeed again: from the step of its last checkpoint, or from the first one. */
function Again({ step, main, pending, start }: AgainProps) {
  const { t } = useTranslation("job");
  const Icon = step === null ? IconRefresh : IconPlayerPlay;
  return (
    <Tooltip
      label={step === null ? t("retryAbout") : t("resumeAbout", { step })}
      events={{ hover: true, focus: true, touch: true }}
    >
      <Button
        variant={main ? "filled" : "default"}
        leftSection={<Icon size={16} aria-hidden />}
        loading={pending}
        onClick={start}
      >
        {t(step === null ? "retry" : "resume")}
      </Button>
    </Tooltip>
  );
}
