import { Button, Stack, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { Problem } from "../../ui/Problem";
import { TierBadge, TraceView } from "../../ui/TraceView";
import { useTrace } from "../../ui/useTrace";

/** "Verify exactly": has a worker trace the spec as it stands; the answer goes when the spec changes. */
export function VerifyPanel({ spec }: { spec: unknown }) {
  const { t } = useTranslation("trace");
  const { ask, asking, status, error } = useTrace(JSON.stringify(spec));
  return (
    <Stack gap="sm" mt="md" aria-live="polite">
      {!status && (
        <>
          <Button variant="default" loading={asking} onClick={ask}>
            {t("verify")}
          </Button>
          <Text size="sm" className="muted">
            {t("verifyAbout")}
          </Text>
        </>
      )}
      {error && <Problem error={error} />}
      {status?.state === "ready" && <TierBadge tier="trace" />}
      {status && <TraceView status={status} again={ask} />}
    </Stack>
  );
}
