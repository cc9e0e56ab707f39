# AWS Lambda container (the last stage, which is the default):
#   docker build -t headstand .
#   docker run --rm -p 8080:8080 headstand     and in another terminal: python test.py
# HTTP service (docs/service.md):
#   docker build -t headstand-web --target web .
#   docker run --rm -p 8000:8000 --read-only --tmpfs /tmp headstand-web
# SageMaker endpoint (docs/sagemaker.md); SageMaker supplies the model:
#   docker build -t headstand-endpoint --target endpoint .
# Another model: --build-arg MODEL=runs/NAME/TIME/NAME.tflite
ARG BASE_IMAGE=public.ecr.aws/lambda/python:3.12
ARG WEB_BASE_IMAGE=docker.io/library/python:3.12-slim

# The build machine downloads the packages for the target platform (--platform linux/arm64 or linux/amd64), and the last
# stage has no RUN: images of both architectures build on either machine, without an emulator.
FROM --platform=${BUILDPLATFORM} ${BASE_IMAGE} AS packages
ARG TARGETARCH
WORKDIR /build
RUN python -m pip install --no-cache-dir pipenv==2026.10.3
COPY Pipfile Pipfile.lock ./
# Exactly the locked packages, verified by hash, as wheels only (no compiler), without TensorFlow and Flask. The base
# image's own Python installs them, so that the wheels match its version.
RUN case "${TARGETARCH:-$(uname -m)}" in arm64 | aarch64) machine=aarch64 ;; *) machine=x86_64 ;; esac \
    && python -m pipenv requirements --categories lambda --hash > requirements.txt \
    && python -m pip install --no-cache-dir --require-hashes --only-binary :all: --no-compile --target /packages \
        --platform manylinux_2_28_${machine} --platform manylinux_2_27_${machine} \
        --platform manylinux_2_17_${machine} --platform manylinux2014_${machine} -r requirements.txt
# Removed: LiteRT's GPU delegate and its compilers for other chips, tests, Fortran tools and C headers of NumPy, Pillow's
# fonts and colour management; and the decoder of AVIF, which is larger than that of HEIC: the function refuses AVIF.
# Byte code is compiled here, because a function can write only to /tmp and would compile at every start. It is not
# checked against file times, which a layer may not preserve.
RUN cd /packages \
    && rm -rf bin ai_edge_litert/libLiteRtWebGpuAccelerator.so ai_edge_litert/aot ai_edge_litert/tools \
        ai_edge_litert/vendors numpy/tests numpy/*/tests numpy/f2py numpy/_core/include PIL/_avif* pillow.libs/libavif* \
        PIL/_imagingft* pillow.libs/libfreetype* pillow.libs/libharfbuzz* PIL/_imagingcms* pillow.libs/liblcms2* \
    && python -m compileall -q --invalidation-mode unchecked-hash .

FROM --platform=${BUILDPLATFORM} ${BASE_IMAGE} AS code
WORKDIR /code
COPY headstand/__init__.py headstand/cores.py headstand/errors.py headstand/inputs.py headstand/quiet.py headstand/
COPY headstand/images headstand/images
COPY headstand/poses/__init__.py headstand/poses/heatmap_file.py headstand/poses/heatmap_input.py headstand/poses/
COPY headstand/serve headstand/serve
COPY lambda_function.py ./
# Lambda runs the code as its own user, who must be able to read it whatever the file modes in the checkout are.
RUN python -m compileall -q --invalidation-mode unchecked-hash . && chmod -R a+rX .

FROM ${WEB_BASE_IMAGE} AS web-packages
WORKDIR /build
RUN python -m pip install --no-cache-dir pipenv==2026.10.3
COPY Pipfile Pipfile.lock ./
RUN python -m pipenv requirements --categories serve --hash > requirements.txt \
    && python -m pip install --no-cache-dir --require-hashes --only-binary :all: --target /packages -r requirements.txt

FROM ${WEB_BASE_IMAGE} AS web
ARG MODEL=models/yoga6/yoga6.tflite
# Sample images for the page, named after the model's classes; images of other classes are not shown.
ARG SAMPLES=models/yoga6/samples
WORKDIR /srv
COPY --from=web-packages /packages /packages
COPY headstand/__init__.py headstand/cores.py headstand/environment.py headstand/errors.py headstand/inputs.py headstand/quiet.py headstand/
COPY headstand/images headstand/images
COPY headstand/poses/__init__.py headstand/poses/heatmap_file.py headstand/poses/heatmap_input.py headstand/poses/
COPY headstand/cli/__init__.py headstand/cli/command.py headstand/cli/models.py headstand/cli/predict.py headstand/cli/
COPY headstand/serve headstand/serve
COPY predict.py gunicorn.conf.py ./
COPY ${MODEL} model.tflite
COPY ${SAMPLES} samples
ENV PYTHONPATH=/packages PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HEADSTAND_MODEL=/srv/model.tflite
# Compiled here, because the user below can write only under /tmp.
RUN python -m compileall -q /packages /srv
USER 65534:65534
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["python", "-m", "gunicorn", "predict:app", "--bind", "0.0.0.0:8000"]

FROM web AS endpoint
# SageMaker extracts the model to /opt/ml/model.
ENV HEADSTAND_MODEL=
# SageMaker runs every container as root, and warns about other users.
USER 0:0
EXPOSE 8080
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "headstand.serve.endpoint"]
CMD ["serve"]

FROM ${BASE_IMAGE}
# Lambda's base images search for the handler here.
WORKDIR /var/task
COPY --from=packages /packages ./
COPY --from=code /code ./
ENV HEADSTAND_MODEL=/var/task/model.tflite
CMD ["lambda_function.lambda_handler"]
# Last, so that another model changes only this small layer.
ARG MODEL=models/yoga6/yoga6.tflite
COPY --chmod=644 ${MODEL} model.tflite
