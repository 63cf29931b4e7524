import { Button, Group, Loader, Text } from "@mantine/core";
import { IconAlertCircle, IconArrowsLeftRight } from "@tabler/icons-react";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { ChatMessage } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { formatNumber } from "../../units";
import type { Answer, Said } from "./useChat";

/** How near to its end, in pixels, a conversation is followed while it grows. */
const NEAR = 80;

type Props = {
  messages: ChatMessage[];
  said: Said;
  over: boolean;
  /** Ask a message once more, with the adapter or without; undefined where that cannot be. */
  again?: (message: ChatMessage, adapter: boolean) => void;
};

/** Each message with its answers, which are shown as the text that they are. */
export function ChatConversation({ messages, said, over, again }: Props) {
  const { t } = useTranslation("chat");
  const sentence = useSaid();
  const scrolled = useRef<HTMLDivElement>(null);
  const near = useRef(true);
  const first = messages.filter(({ again_of }) => again_of === null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: whenever something was said
  useEffect(() => {
    if (near.current && scrolled.current) scrolled.current.scrollTop = scrolled.current.scrollHeight;
  }, [messages, said]);
  const notes = said.ready?.notes ?? [];
  return (
    <div
      ref={scrolled}
      className="chat-lines"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it
      tabIndex={0}
      role="log"
      aria-label={t("conversation")}
      aria-live="off"
      onScroll={({ currentTarget: at }) => {
        near.current = at.scrollHeight - at.scrollTop - at.clientHeight < NEAR;
      }}
    >
      {notes.map((note) => (
        <Text key={note.kind} size="sm" className="muted">
          {sentence(note.text, note)}
        </Text>
      ))}
      {first.length === 0 && said.ready && !over && <Text className="muted">{t("sayFirst")}</Text>}
      {first.map((message) => {
        const answers = [message, ...messages.filter(({ again_of }) => again_of === message.number)];
        const other = !answers.at(-1)?.adapter;
        const asked = answers.some(({ adapter }) => adapter === other);
        const done = answers.every(({ number }) => said.answers.get(number)?.last?.ended);
        return (
          <article key={message.number} aria-label={t("messageNumber", { number: message.number })}>
            <div className="chat-asked">{message.text}</div>
            <div className="chat-answers" data-several={answers.length > 1 || undefined}>
              {answers.map((each) => (
                <OneAnswer
                  key={each.number}
                  message={each}
                  answer={said.answers.get(each.number)}
                  over={over}
                  told={said.ready?.adapter ?? false}
                />
              ))}
            </div>
            {again && done && !asked && (
              <Button
                size="compact-xs"
                variant="subtle"
                leftSection={<IconArrowsLeftRight size={13} aria-hidden />}
                onClick={() => {
                  again(message, other);
                  scrolled.current?.focus({ preventScroll: true }); // the button goes
                }}
              >
                {t(other ? "askAdapter" : "askBase")}
              </Button>
            )}
          </article>
        );
      })}
    </div>
  );
}

type One = {
  message: ChatMessage;
  answer?: Answer;
  over: boolean;
  /** Whether it is told if the adapter has answered. */
  told: boolean;
};

function OneAnswer({ message, answer, over, told }: One) {
  const { t } = useTranslation("chat");
  const sentence = useSaid();
  const last = answer?.last;
  const under = !last?.ended && !over;
  const speed = last?.seconds ? last.tokens / last.seconds : null;
  const problem = last?.problem;
  return (
    <div className="chat-answer">
      {told && (
        <Text size="xs" className="muted">
          {t(message.adapter ? "fromAdapter" : "fromBase")}
        </Text>
      )}
      <div className="chat-text" aria-live="polite" aria-busy={under}>
        {answer?.text}
        {under && answer?.text && <span className="chat-caret" aria-hidden />}
        {problem && (
          <Group gap={6} wrap="nowrap" align="flex-start" c="var(--bad)">
            <IconAlertCircle size={16} aria-hidden style={{ flex: "none", marginTop: 3 }} />
            <span>{sentence(problem.text, problem)}</span>
          </Group>
        )}
        {last?.ended && !answer?.text && !problem && <span className="muted">{t("saidNothing")}</span>}
      </div>
      {under && !answer?.text && (
        <Group gap="xs">
          <Loader size={12} />
          <Text size="xs" className="muted">
            {answer ? t("reading", { tokens: answer.promptTokens ?? "" }) : t("waitsForModel")}
          </Text>
        </Group>
      )}
      {over && !last?.ended && (
        <Text size="xs" className="muted">
          {t(answer ? "cutOff" : "notAnswered")}
        </Text>
      )}
      {last?.ended && !problem && (
        <Text size="xs" className="muted">
          {[
            t(last.tokens === 1 ? "token" : "tokens", { tokens: last.tokens }),
            ...(speed === null ? [] : [t("speed", { speed: formatNumber(speed, 2) })]),
            ...(last.ended === "end" ? [] : [t(`ended_${last.ended}`)]),
          ].join(" · ")}
        </Text>
      )}
    </div>
  );
}
