import { Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { useTranslation } from "react-i18next";

type Question = { title: string; about: string; act: string; onConfirm: () => void };

/** Asks before anything that cannot be taken back. */
export function useConfirm() {
  const { t } = useTranslation("shell");
  return ({ title, about, act, onConfirm }: Question) =>
    modals.openConfirmModal({
      title,
      children: <Text size="sm">{about}</Text>,
      labels: { confirm: act, cancel: t("keep") },
      confirmProps: { color: "red" },
      closeButtonProps: { "aria-label": t("close") },
      onConfirm,
    });
}
