import { Button, FileButton, Progress, Stack, Text } from "@mantine/core";
import { IconUpload } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Dataset } from "../api/types";
import { uploadDataset } from "../api/upload";
import { AnotherName, isOfName } from "./AnotherName";
import { anotherName } from "./names";

/** Why a file was not taken. */
export type UploadProblem = { file: string; error: unknown };

type Props = {
  onDone: (dataset: Dataset) => void;
  onProblem: (problem?: UploadProblem) => void;
  variant?: "filled" | "default";
};

/** ``name`` is empty until the one from the file's own is refused. */
type Upload = { file: File; name: string };

/** Chooses a file and sends it; also inside the new-job form, so that a newcomer need not leave it. */
export function UploadButton({ onDone, onProblem, variant = "filled" }: Props) {
  const { t } = useTranslation("datasets");
  const queries = useQueryClient();
  const [sent, setSent] = useState(0);
  const forget = useRef<() => void>(null);
  const upload = useMutation({
    mutationFn: ({ file, name }: Upload) => {
      setSent(0);
      onProblem(undefined);
      return uploadDataset(file, name, setSent);
    },
    onSuccess: async (dataset) => {
      await queries.invalidateQueries({ queryKey: ["datasets"] });
      onDone(dataset);
    },
    onError: (error, { file }) => {
      if (!isOfName(error)) onProblem({ file: file.name, error });
    },
    // The same file may be chosen again once it is mended: a browser tells of a change only.
    onSettled: () => forget.current?.(),
  });
  return (
    <Stack gap={6}>
      <FileButton
        resetRef={forget}
        accept=".jsonl,.json,.csv,.parquet"
        inputProps={{ "aria-label": t("upload") }}
        onChange={(file) => file && upload.mutate({ file, name: "" })}
      >
        {(props) => (
          <Button
            {...props}
            variant={variant}
            loading={upload.isPending}
            leftSection={<IconUpload size={16} aria-hidden />}
          >
            {t("upload")}
          </Button>
        )}
      </FileButton>
      {upload.isPending && (
        <div role="status">
          <Progress value={100 * sent} size="sm" aria-label={t("uploading")} />
          <Text size="xs" className="muted">
            {sent < 1 ? t("sent", { percent: Math.floor(100 * sent) }) : t("checking")}
          </Text>
        </div>
      )}
      {isOfName(upload.error) && (
        <AnotherName
          file={upload.variables?.file.name ?? ""}
          suggested={upload.variables?.name || anotherName(upload.variables?.file.name ?? "")}
          error={upload.error}
          onChosen={(name) => upload.variables && upload.mutate({ ...upload.variables, name })}
          onClose={upload.reset}
        />
      )}
    </Stack>
  );
}
