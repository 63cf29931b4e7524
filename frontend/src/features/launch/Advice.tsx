import { Stack, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Advice as Answer } from "../../api/types";
import { Suggestion } from "../../ui/Suggestion";
import type { DraftState } from "./draft";

const SHOWN = 5;

type Props = { draft: DraftState; gpu: string; fits: boolean; config?: Record<string, unknown> };

/** Changes that save memory, cheapest first, each applied by one click; and the limits of the spec as it is. */
export function Advice({ draft, gpu, fits, config }: Props) {
  const { t, i18n } = useTranslation("launch");
  const language = i18n.language === "en" ? "en" : "zh";
  const { data: advice } = useQuery({
    queryKey: ["advice", draft.spec, gpu, language, config],
    queryFn: () => call<Answer>("POST", "/advice", { spec: draft.spec, gpu, language, config }),
    placeholderData: (before) => before,
    retry: false,
  });
  if (!advice) return null;
  const apply = (title: string, patch: Record<string, unknown>) => ({
    label: t("apply"),
    spoken: t("applyThis", { title }),
    act: () => {
      draft.change(patch);
      notifications.show({ message: t("applied", { title }) });
    },
  });
  const { together } = advice;
  return (
    <details open={!fits}>
      <summary>{t(fits ? "advice_save" : "advice_fit")}</summary>
      <Stack gap="xs" mt="xs">
        {together && (
          <Suggestion
            item={{ ...together, price: t(together.fits ? "togetherEnough" : "togetherShort") }}
            mark={together.fits ? t("thenFits") : undefined}
            {...apply(together.title, together.patch)}
          />
        )}
        {advice.suggestions.slice(0, SHOWN).map((item) => (
          <Suggestion
            key={item.id}
            item={item}
            mark={!fits && item.fits ? t("thenFits") : undefined}
            {...apply(item.title, item.patch)}
          />
        ))}
        <Limits advice={advice} gpu={gpu} />
      </Stack>
    </details>
  );
}

/** How far the spec as it is could go on this GPU, and which cheaper one would do. */
function Limits({ advice, gpu }: { advice: Answer; gpu: string }) {
  const { t } = useTranslation("launch");
  const lines: string[] = [];
  if (advice.longest_max_length && advice.largest_batch)
    lines.push(t("limits", { gpu, tokens: advice.longest_max_length, rows: advice.largest_batch }));
  lines.push(advice.cheapest_gpu ? t("cheapestGpu", { gpu: advice.cheapest_gpu }) : t("noCheapestGpu"));
  lines.push(...advice.passed_over.map((item) => t("passedOver", item)));
  return (
    <div>
      {lines.map((line) => (
        <Text key={line} size="xs" className="muted">
          {line}
        </Text>
      ))}
    </div>
  );
}
