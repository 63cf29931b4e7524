import { Alert, List } from "@mantine/core";
import { IconAlertCircle } from "@tabler/icons-react";
import { ApiProblem } from "../api/client";

/** What happened and what to do next. */
export function Problem({ error }: { error: unknown }) {
  const problem = error instanceof ApiProblem ? error : undefined;
  return (
    <Alert
      color="red"
      variant="light"
      role="alert"
      icon={<IconAlertCircle size={18} aria-hidden />}
      title={problem?.detail ?? String(error)}
    >
      {problem?.fix}
      {problem && problem.errors.length > 0 && (
        <List size="sm" mt={4}>
          {problem.errors.slice(0, 20).map((item) => (
            <List.Item key={item.loc + item.message}>
              <b>{item.loc}</b>: {[item.message, item.fix].filter(Boolean).join(" – ")}
            </List.Item>
          ))}
        </List>
      )}
    </Alert>
  );
}
