/** What is said in a chat, from its events: the answers as far as they have come, and what the model told when it was ready. */

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { followJob } from "../../api/follow";
import type { ChatAnswerEvent, ChatReadyEvent, ChatTakenEvent, JobEvent } from "../../api/types";
import { type Listener, subscribe } from "../../charts/listeners";
import { whileVisible } from "../../ui/whileVisible";

/** An answer as far as it has come; ``last`` is its newest piece. */
export type Answer = { text: string; promptTokens: number | null; last: ChatAnswerEvent | null };
export type Said = { ready: ChatReadyEvent | null; answers: ReadonlyMap<number, Answer>; ended: boolean };

class ChatStore {
  private said: Said = { ready: null, answers: new Map(), ended: false };
  private position: string | null = null;
  private frame = 0;
  private readonly listeners = new Set<Listener>();

  constructor(
    private readonly chatId: string,
    private readonly onNews: (ended: boolean) => void,
  ) {}

  onChange = (listener: Listener) => subscribe(this.listeners, listener);
  snapshot = () => this.said;

  /** Also after a stop: from where it was left. Returns how to stop. */
  start(): () => void {
    return followJob(
      this.chatId,
      this.position,
      (event) => this.take(event),
      () => {
        this.said = { ...this.said, ended: true };
        this.changed();
        this.onNews(true);
      },
    );
  }

  private take(event: JobEvent) {
    this.position = `${event.attempt}-${event.sequence}`;
    if (event.kind === "chat_ready") this.said = { ...this.said, ready: event as ChatReadyEvent };
    else if (event.kind === "chat_taken") {
      const { number, prompt_tokens: promptTokens } = event as ChatTakenEvent;
      this.answer(number, (before) => ({ ...before, promptTokens }));
    } else if (event.kind === "chat_answer") {
      const piece = event as ChatAnswerEvent;
      this.answer(piece.number, (before) => ({ ...before, text: before.text + piece.text, last: piece }));
      if (piece.ended) this.onNews(false);
    } else {
      if (event.kind === "state" || event.kind === "stage") this.onNews(false);
      return;
    }
    this.changed();
  }

  private answer(number: number, change: (before: Answer) => Answer) {
    const answers = new Map(this.said.answers);
    answers.set(number, change(answers.get(number) ?? { text: "", promptTokens: null, last: null }));
    this.said = { ...this.said, answers };
  }

  /** A whole conversation may come at once: it is shown once. */
  private changed() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      for (const listener of this.listeners) listener();
    });
  }
}

/** Follows a chat while its page is in sight. */
export function useChat(chatId: string): Said {
  const queries = useQueryClient();
  const store = useMemo(
    () =>
      new ChatStore(chatId, (ended) => {
        if (ended) void queries.invalidateQueries({ queryKey: ["chats"] });
        void queries.invalidateQueries({ queryKey: ["job", chatId] });
        void queries.invalidateQueries({ queryKey: ["chat-messages", chatId] });
      }),
    [chatId, queries],
  );
  useEffect(() => whileVisible(() => store.start()), [store]);
  return useSyncExternalStore(store.onChange, store.snapshot);
}
