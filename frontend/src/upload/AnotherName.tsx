import { Button, Group, Modal, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiProblem } from "../api/client";
import { useSaid } from "../i18n/sentence";
import { LONGEST_NAME } from "./names";

/** Whether an upload was refused for its name alone: the file may be sent again under another. */
export const isOfName = (error: unknown): error is ApiProblem =>
  error instanceof ApiProblem && (error.status === 409 || error.field("name") !== undefined);

type Props = {
  file: string;
  suggested: string;
  error: ApiProblem;
  onChosen: (name: string) => void;
  onClose: () => void;
};

/** Asks for the name of a file whose own cannot be used, or is that of another data set. */
export function AnotherName({ file, suggested, error, onChosen, onClose }: Props) {
  const { t } = useTranslation("datasets");
  const said = useSaid();
  const [name, setName] = useState(suggested);
  return (
    <Modal
      opened
      onClose={onClose}
      title={t("anotherName", { file })}
      closeButtonProps={{ "aria-label": t("close") }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim()) onChosen(name.trim());
        }}
      >
        {error.status === 409 && (
          <Text size="sm" mb="sm">
            {said(error.detail, error.detail_sentence)}
          </Text>
        )}
        <TextInput
          data-autofocus
          label={t("name")}
          description={t("nameHelp")}
          maxLength={LONGEST_NAME}
          value={name}
          error={error.field("name")}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Group justify="flex-end" mt="md">
          <Button variant="default" onClick={onClose}>
            {t("dropFile")}
          </Button>
          <Button type="submit" disabled={!name.trim()}>
            {t("uploadSo")}
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
