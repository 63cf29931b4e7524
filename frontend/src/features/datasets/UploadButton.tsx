import { Button, FileButton, Progress, Stack, Text } from "@mantine/core";
import { IconUpload } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { Dataset } from "../../api/types";
import { uploadDataset } from "../../api/upload";

type Props = {
  onDone: (dataset: Dataset) => void;
  onProblem: (error: unknown) => void;
  variant?: "filled" | "default";
};

/** Chooses a file and sends it; also inside the new-job form, so that a newcomer need not leave it. */
export function UploadButton({ onDone, onProblem, variant = "filled" }: Props) {
  const { t } = useTranslation("datasets");
  const queries = useQueryClient();
  const [sent, setSent] = useState(0);
  const upload = useMutation({
    mutationFn: (file: File) => {
      setSent(0);
      onProblem(undefined);
      return uploadDataset(file, setSent);
    },
    onSuccess: async (dataset) => {
      await queries.invalidateQueries({ queryKey: ["datasets"] });
      onDone(dataset);
    },
    onError: onProblem,
  });
  return (
    <Stack gap={6}>
      <FileButton
        accept=".jsonl,.json,.csv,.parquet"
        inputProps={{ "aria-label": t("upload") }}
        onChange={(file) => file && upload.mutate(file)}
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
    </Stack>
  );
}
