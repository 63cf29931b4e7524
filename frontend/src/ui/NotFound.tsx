import { Button } from "@mantine/core";
import { IconMapQuestion } from "@tabler/icons-react";
import { Link, useLocation } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { Empty } from "./Empty";
import { PageHead } from "./PageHead";

export function NotFound() {
  const { t } = useTranslation("shell");
  const path = useLocation({ select: (location) => location.pathname });
  return (
    <>
      <PageHead title={t("notFound")} />
      <Empty icon={<IconMapQuestion size={26} />} title={path} about={t("notFoundAbout")}>
        <Button component={Link} to="/">
          {t("toJobs")}
        </Button>
      </Empty>
    </>
  );
}
