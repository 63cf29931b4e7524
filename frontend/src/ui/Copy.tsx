import { Button, type ButtonProps } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { type ReactNode, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { copyText } from "./clipboard";

const TOLD_MILLISECONDS = 1500;

type Props = {
  /** What is copied; a function is asked when the button is pressed. */
  value: string | (() => string);
  label?: string;
  done?: string;
  icon?: ReactNode;
  size?: ButtonProps["size"];
};

export function Copy({ value, label, done, icon = <IconCopy size={14} aria-hidden />, size = "xs" }: Props) {
  const { t } = useTranslation("shell");
  const [copied, setCopied] = useState(0);
  useEffect(() => {
    if (copied === 0) return;
    const timer = setTimeout(() => setCopied(0), TOLD_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async () => {
    if (await copyText(typeof value === "string" ? value : value())) setCopied(Date.now());
    else notifications.show({ color: "red", message: t("notCopied") });
  };
  return (
    <Button
      size={size}
      variant="default"
      leftSection={copied ? <IconCheck size={14} aria-hidden /> : icon}
      onClick={() => void copy()}
    >
      {copied ? (done ?? t("copied")) : (label ?? t("copy"))}
    </Button>
  );
}

/** Saves ``text`` as a file on the reader's machine. */
export function download(name: string, text: string) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
