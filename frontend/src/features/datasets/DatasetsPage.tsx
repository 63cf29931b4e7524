import { Alert, Skeleton, Stack } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import type { Dataset } from "../../api/types";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { RowProblems } from "../../upload/RowProblems";
import { UploadButton, type UploadProblem } from "../../upload/UploadButton";
import { DatasetCard } from "./DatasetCard";

export default function DatasetsPage() {
  const { t } = useTranslation("datasets");
  const [uploaded, setUploaded] = useState<Dataset>();
  const [problem, setProblem] = useState<UploadProblem>();
  const datasets = useQuery({ queryKey: ["datasets"], queryFn: () => answer(api.GET("/api/datasets")) });
  return (
    <>
      <PageHead title={t("title")} about={t("about")}>
        <UploadButton onDone={setUploaded} onProblem={setProblem} />
      </PageHead>
      <Stack>
        {problem && <Problem error={problem.error} subject={problem.file} />}
        {uploaded && <Uploaded dataset={uploaded} onClose={() => setUploaded(undefined)} />}
        {datasets.error && <Problem error={datasets.error} retry={datasets.refetch} />}
        {datasets.isPending && <Skeleton height={96} />}
        {datasets.data?.items.map((dataset) => (
          <DatasetCard
            key={dataset.id}
            dataset={dataset}
            opened={dataset.id === uploaded?.id}
            onGone={() => setUploaded((shown) => (shown?.id === dataset.id ? undefined : shown))}
          />
        ))}
      </Stack>
    </>
  );
}

/** What became of the file just sent: its rows, and each row that was left out, by line. */
function Uploaded({ dataset, onClose }: { dataset: Dataset; onClose: () => void }) {
  const { t } = useTranslation("datasets");
  const clean = dataset.problem_count === 0;
  return (
    <Alert
      color={clean ? "teal" : "yellow"}
      role="status"
      withCloseButton
      closeButtonLabel={t("close")}
      onClose={onClose}
      title={t(clean ? "allGood" : "someLeftOut", {
        name: dataset.name,
        rows: dataset.rows,
        count: dataset.problem_count,
      })}
    >
      {!clean && <RowProblems dataset={dataset} />}
    </Alert>
  );
}
