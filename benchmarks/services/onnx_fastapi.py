"""FastAPI + ONNX Runtime, as its documentation shows it: a coroutine reads the body, the model runs in a thread."""

import threading

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from benchmarks.services.onnx_model import Model

app = FastAPI()
model = Model()
turn = threading.Lock()  # one image at a time, on the worker's one core


@app.post("/predict")
async def predict(request: Request) -> dict[str, float]:
    return await run_in_threadpool(answer, await request.body())


def answer(body: bytes) -> dict[str, float]:
    with turn:
        return model.classify(body)
