import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { IconDownload, IconSearch } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { download } from "../../ui/Copy";
import { Problem } from "../../ui/Problem";
import type { LiveJob } from "./liveJob";
import type { Line } from "./logLines";

const NEAR_END_PIXELS = 120;
const BLOCK_LINES = 200;

/** The trainer's log: follows the newest lines while its end is in sight; earlier lines come on request. */
export function Log({ live }: { live: LiveJob }) {
  const { t } = useTranslation("job");
  const { items, earlier, newest } = useSyncExternalStore(live.lines.onChange, live.lines.snapshot);
  const box = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);
  const load = useMutation({ mutationFn: (which: "newest" | "earlier") => loadLines(live, which) });
  const first = items[0]?.sequence ?? 0;
  const [wanted, setWanted] = useState("");
  const word = wanted.trim().toLowerCase();
  const lines = word ? items.filter((line) => line.line.toLowerCase().includes(word)) : items;
  const save = () => download(`${live.jobId}.log`, items.map((line) => `${line.line}\n`).join(""));
  const { mutate } = load;
  useEffect(() => mutate("newest"), [mutate]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines are what moves the view
  useLayoutEffect(() => {
    const element = box.current;
    if (element && atEnd.current && newest) element.scrollTop = element.scrollHeight;
  }, [items]);
  return (
    <Stack gap="xs">
      <Group justify="space-between">
        <Group gap="sm">
          <TextInput
            aria-label={t("searchLog")}
            placeholder={t("searchLog")}
            leftSection={<IconSearch size={16} aria-hidden />}
            value={wanted}
            onChange={(event) => setWanted(event.currentTarget.value)}
          />
          <Text size="sm" className="muted" role="status">
            {word
              ? t("linesFound", { count: lines.length })
              : items.length > 0 && t("linesShown", { lines: items.length })}
          </Text>
        </Group>
        <Group gap="xs">
          <Button
            size="compact-sm"
            variant="default"
            disabled={items.length === 0}
            leftSection={<IconDownload size={14} aria-hidden />}
            onClick={save}
          >
            {t("download")}
          </Button>
          {earlier && first > 1 && (
            <Button
              size="compact-sm"
              variant="default"
              loading={load.isPending}
              onClick={() => {
                atEnd.current = false;
                if (box.current) box.current.scrollTop = 0;
                mutate("earlier");
              }}
            >
              {t("loadEarlier")}
            </Button>
          )}
          {!newest && (
            <Button
              size="compact-sm"
              variant="default"
              loading={load.isPending}
              onClick={() => {
                atEnd.current = true;
                mutate("newest");
              }}
            >
              {t("backToNewest")}
            </Button>
          )}
        </Group>
      </Group>
      {load.error && <Problem error={load.error} />}
      <pre
        ref={box}
        className="card log"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
        tabIndex={0}
        role="log"
        aria-label={t("log")}
        onScroll={({ currentTarget: view }) => {
          atEnd.current = view.scrollHeight - view.scrollTop - view.clientHeight < NEAR_END_PIXELS;
        }}
      >
        {items.length === 0
          ? t("noLog")
          : blocks(lines).map((block) => <Block key={block.number} lines={block.lines} />)}
      </pre>
    </Stack>
  );
}

function loadLines(live: LiveJob, which: "newest" | "earlier") {
  return which === "newest" ? live.lines.loadNewest() : live.lines.loadEarlier();
}

/** Runs of lines whose places do not change as lines come and go at the ends, so that only those at the ends are built again. */
function blocks(items: Line[]): { number: number; lines: Line[] }[] {
  const found: { number: number; lines: Line[] }[] = [];
  for (const line of items) {
    const number = Math.floor(line.sequence / BLOCK_LINES);
    const last = found.at(-1);
    if (last?.number === number) last.lines.push(line);
    else found.push({ number, lines: [line] });
  }
  return found;
}

/** Lines out of sight cost nothing: the browser leaves their layout out. */
function Block({ lines }: { lines: Line[] }) {
  return <span className="log-block">{lines.map((line) => `${line.line}\n`).join("")}</span>;
}
