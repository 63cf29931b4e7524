import { SimpleGrid, Skeleton, Stack, Text } from "@mantine/core";
import { IconMessageQuestion } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import { type Job, TERMINAL } from "../../api/types";
import { Empty } from "../../ui/Empty";
import { Problem } from "../../ui/Problem";
import { useFiles } from "./useFiles";

const FILE = "answers.json";

type Turn = { role: string; content: string };
/** As the trainer writes it (worker/trainer/answers.py). */
type Answers = {
  of_evaluation: boolean;
  answers: { asked: string | Turn[]; reference: string; before: string | null; after: string }[];
};

/** Whether a job is to leave answers: ``schedule.sample_answers`` of its spec. */
export const asksForAnswers = (job: Job) =>
  Number((job.spec.schedule as { sample_answers?: number } | undefined)?.sample_answers) > 0;

/** What the model says to some rows of the data, with what was trained and without. */
export function Answers({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const files = useFiles(job);
  const file = files.data?.find(({ name }) => name === FILE);
  const told = useQuery({
    queryKey: ["answers", job.id, file?.sha256],
    queryFn: () => call<Answers>("GET", `/jobs/${encodeURIComponent(job.id)}/artifacts/${FILE}`),
    enabled: file !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const error = files.error ?? told.error;
  if (error) return <Problem error={error} retry={files.error ? files.refetch : told.refetch} />;
  if (files.data && !file)
    return (
      <Empty
        icon={<IconMessageQuestion size={26} />}
        title={t(TERMINAL.has(job.state) ? "noAnswers" : "noAnswersYet")}
        about={t(TERMINAL.has(job.state) ? "noAnswersAbout" : "noAnswersYetAbout")}
      />
    );
  if (!told.data) return <Skeleton height={240} radius={12} />;
  return (
    <Stack>
      <Text size="sm" className="muted">
        {t(told.data.of_evaluation ? "answersOfEvaluation" : "answersOfTraining")}
      </Text>
      {told.data.answers.map((answer, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a file that never changes
        <section key={index} className="card">
          <Asked asked={answer.asked} />
          <SimpleGrid cols={{ base: 1, md: answer.before === null ? 2 : 3 }} mt="md">
            <Said title={t("answerOfData")} text={answer.reference} />
            {answer.before !== null && <Said title={t("answerBefore")} text={answer.before} />}
            <Said title={t(answer.before === null ? "answerTrained" : "answerAfter")} text={answer.after} />
          </SimpleGrid>
        </section>
      ))}
    </Stack>
  );
}

/** A question; a conversation names who says what. */
function Asked({ asked }: { asked: string | Turn[] }) {
  const turns = typeof asked === "string" ? [{ role: "", content: asked }] : asked;
  return (
    <Stack gap={4}>
      {turns.map((turn, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: turns of one conversation, in order
        <Text key={index} fw={turn.role === "system" ? 400 : 640} style={{ whiteSpace: "pre-wrap" }}>
          {turns.length > 1 && <span className="muted">{turn.role}: </span>}
          {turn.content}
        </Text>
      ))}
    </Stack>
  );
}

function Said({ title, text }: { title: string; text: string }) {
  const { t } = useTranslation("job");
  return (
    <div>
      <Text size="sm" className="muted">
        {title}
      </Text>
      <Text style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>{text || t("saidNothing")}</Text>
    </div>
  );
}
