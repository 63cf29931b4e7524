import { Button, Group, Stack, Switch, Textarea } from "@mantine/core";
import { useSessionStorage } from "@mantine/hooks";
import { IconPlayerStopFilled, IconSend } from "@tabler/icons-react";
import { type KeyboardEvent, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { NewMessage } from "../../api/types";
import { NumberEntry } from "../../spec/NumberEntry";
import { Problem } from "../../ui/Problem";

export type Draft = Omit<NewMessage, "temperature" | "max_new_tokens"> & {
  temperature: number;
  max_new_tokens: number;
};
type Kept = Omit<Draft, "temperature" | "max_new_tokens"> & {
  temperature: number | string;
  max_new_tokens: number | string;
};

const FIRST: Kept = { text: "", system: null, adapter: true, max_new_tokens: 512, temperature: 0 };

type Props = {
  chatId: string;
  begun: boolean;
  /** Whether there is an adapter that can be left out. */
  adapter: boolean;
  answering: boolean;
  sending: boolean;
  error: unknown;
  send: (draft: Draft, sent: () => void) => void;
  stop: () => void;
};

/** Where a message is written. Enter sends it, Shift and Enter begins a line; what is written outlives a reload. */
export function ChatComposer({ chatId, begun, adapter, answering, sending, error, send, stop }: Props) {
  const { t } = useTranslation("chat");
  const [draft, setDraft] = useSessionStorage<Kept>({
    key: `chat-draft-${chatId}`,
    defaultValue: FIRST,
    getInitialValueInEffect: false,
  });
  const field = useRef<HTMLTextAreaElement>(null);
  const change = (changes: Partial<Kept>) => setDraft((before) => ({ ...before, ...changes }));
  const empty = draft.text.trim() === "";
  const submit = () => {
    if (empty || sending) return;
    // What is no number goes to the server as it is, which says what is wrong with it.
    const { temperature, max_new_tokens } = draft as Draft;
    send({ ...draft, temperature, max_new_tokens, system: draft.system?.trim() || null }, () =>
      change({ text: "" }),
    );
    field.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // Enter that chooses a word of an input method is not ours.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    submit();
  };
  return (
    <Stack gap="xs" mt="sm">
      {Boolean(error) && <Problem error={error} />}
      <Textarea
        ref={field}
        aria-label={t("message")}
        autoFocus={begun}
        placeholder={t("placeholder")}
        autosize
        minRows={2}
        maxRows={10}
        value={draft.text}
        onChange={(event) => change({ text: event.currentTarget.value })}
        onKeyDown={onKeyDown}
      />
      <Group justify="space-between" gap="xs">
        <Switch
          label={t("withAdapter")}
          checked={adapter && draft.adapter}
          disabled={!adapter}
          title={adapter ? undefined : t("noAdapter")}
          onChange={(event) => change({ adapter: event.currentTarget.checked })}
        />
        <Group gap="xs">
          {answering && (
            <Button
              variant="default"
              leftSection={<IconPlayerStopFilled size={14} aria-hidden />}
              onClick={() => {
                stop();
                field.current?.focus();
              }}
            >
              {t("stop")}
            </Button>
          )}
          <Button
            leftSection={<IconSend size={16} aria-hidden />}
            // Not disabled: it would lose the keyboard's place.
            data-disabled={empty || sending || undefined}
            aria-disabled={empty || sending}
            onClick={submit}
          >
            {t("send")}
          </Button>
        </Group>
      </Group>
      <details>
        <summary>{t("settings")}</summary>
        <Stack gap="xs" mt="xs">
          <Textarea
            label={t("system")}
            description={t("systemAbout")}
            autosize
            minRows={1}
            maxRows={6}
            value={draft.system ?? ""}
            onChange={(event) => change({ system: event.currentTarget.value })}
          />
          <Group grow align="flex-start">
            <NumberEntry
              label={t("temperature")}
              description={t("temperatureAbout")}
              whole={false}
              step={0.1}
              value={draft.temperature}
              onChange={(temperature) => change({ temperature })}
            />
            <NumberEntry
              label={t("mostTokens")}
              description={t("mostTokensAbout")}
              whole
              step={64}
              value={draft.max_new_tokens}
              onChange={(max_new_tokens) => change({ max_new_tokens })}
            />
          </Group>
        </Stack>
      </details>
    </Stack>
  );
}
