"""Published instruction checks, verdict for verdict: IFEval and IFBench."""
