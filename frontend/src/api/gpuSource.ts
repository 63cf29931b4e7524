/** Sources of figures of a job on several GPUs: those of the first are named as on one GPU, "gpu2.nvml.process" is the second's. */

const OF_GPU = /^gpu(\d+)\.(.+)$/;

/** Which of the job's GPUs (from 1) a source is of, and who measured it there. */
export function gpuOfSource(source: string): { gpu: number; who: string } {
  const [, gpu, who] = OF_GPU.exec(source) ?? [];
  return gpu && who ? { gpu: Number(gpu), who } : { gpu: 1, who: source };
}

/** One source for each GPU of a job on several, in their order: of the first the one that the second has. None where there is one GPU. */
export function sourceOfEachGpu(sources: string[]): string[] {
  const others = sources
    .filter((source) => gpuOfSource(source).gpu > 1)
    .sort((one, other) => gpuOfSource(one).gpu - gpuOfSource(other).gpu);
  const first = others[0] && gpuOfSource(others[0]).who;
  return [...sources.filter((source) => source === first), ...others];
}
