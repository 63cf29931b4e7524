import { Button, FileButton, Group, Text } from "@mantine/core";
import { IconFileUpload } from "@tabler/icons-react";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";

/** A model's config.json as its reader chose it, for the model of that id only. */
export type ModelConfig = { of: string; file: string; values: Record<string, unknown> };

type Props = { model: string; config?: ModelConfig; setConfig: (config?: ModelConfig) => void };

/** The way to an estimate of a model that the server does not know: its config.json. */
export function ConfigFile({ model, config, setConfig }: Props) {
  const { t } = useTranslation("launch");
  const [refused, setRefused] = useState<{ of: string; file: string }>();
  const reset = useRef<() => void>(null);
  const take = async (file: File | null) => {
    if (!file) return;
    reset.current?.(); // the same file may be chosen again once it is mended
    const values = objectOf(await file.text());
    setRefused(values ? undefined : { of: model, file: file.name });
    if (values) setConfig({ of: model, file: file.name, values });
  };
  return (
    <Group gap="xs">
      <FileButton resetRef={reset} accept="application/json,.json" onChange={(file) => void take(file)}>
        {(button) => (
          <Button
            {...button}
            size="xs"
            variant="default"
            leftSection={<IconFileUpload size={14} aria-hidden />}
          >
            {t("chooseConfig")}
          </Button>
        )}
      </FileButton>
      {config && (
        <>
          <Text size="sm">{t("byConfig", { file: config.file })}</Text>
          <Button size="compact-xs" variant="subtle" onClick={() => setConfig(undefined)}>
            {t("dropConfig")}
          </Button>
        </>
      )}
      {refused?.of === model && (
        <Text size="sm" role="alert" c="var(--bad)">
          {t("notConfig", { file: refused.file })}
        </Text>
      )}
    </Group>
  );
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const found: unknown = JSON.parse(text);
    return found && typeof found === "object" && !Array.isArray(found)
      ? (found as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
