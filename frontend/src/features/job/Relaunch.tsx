import { Stack, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Job } from "../../api/types";
import { Problem } from "../../ui/Problem";
import { Suggestion } from "../../ui/Suggestion";

const SHOWN = 4;

type Props = {
  jobId: string;
  suggestions: NonNullable<NonNullable<Job["failure"]>["suggestions"]>;
  /** Whether memory is known to have been what was missing. */
  certain: boolean;
};

/** Changes that would have fitted the device that ran out of memory; each starts the job anew by one click. */
export function Relaunch({ jobId, suggestions, certain }: Props) {
  const { t } = useTranslation("job");
  const navigate = useNavigate();
  const relaunch = useMutation({
    mutationFn: (patch: Record<string, unknown>) => call<Job>("POST", `/jobs/${jobId}/clone`, { patch }),
    onSuccess: (job) => navigate({ to: "/jobs/$id", params: { id: job.id } }),
  });
  if (suggestions.length === 0) return null;
  return (
    <Stack gap="xs" mt="sm">
      <Text fw={600} size="sm">
        {t(certain ? "wouldFit" : "mayFit")}
      </Text>
      {suggestions.slice(0, SHOWN).map((item) => (
        <Suggestion
          key={item.id}
          item={item}
          label={t("runWithThis")}
          spoken={t("runWith", { title: item.title })}
          busy={relaunch.isPending && relaunch.variables === item.patch}
          act={() => relaunch.mutate(item.patch)}
        />
      ))}
      {relaunch.error && <Problem error={relaunch.error} />}
    </Stack>
  );
}
