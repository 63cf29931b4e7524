import { Button, Code, Group, Stack } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { stringify } from "yaml";
import type { Job } from "../../api/types";
import { Copy, download } from "../../ui/Copy";

/** The job spec as YAML, as the command line takes it. */
export function Spec({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const text = stringify(job.spec);
  return (
    <Stack gap="sm">
      <Group gap="xs">
        <Copy value={text} />
        <Button
          size="xs"
          variant="default"
          leftSection={<IconDownload size={14} aria-hidden />}
          onClick={() => download(`${job.name.replace(/[^\w.-]+/g, "-")}.yaml`, text)}
        >
          {t("download")}
        </Button>
      </Group>
      <Code block className="card">
        {text}
      </Code>
    </Stack>
  );
}
