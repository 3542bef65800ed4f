# TensorFlow Serving with one version of one export inside. docs/docker.md has the commands, and says what was tried.
#
#   docker build --file docker/serving.Dockerfile --build-arg MODEL=shapes --build-arg VERSION=1 --tag shapes .
ARG TF_SERVING=2.15.1
FROM tensorflow/serving:${TF_SERVING}

ARG MODEL=gflv2_shapes
ARG VERSION=1

COPY --chown=1000:1000 saved_models/${MODEL}/${VERSION} /models/${MODEL}/${VERSION}
COPY --chown=1000:1000 saved_models/${MODEL}/${VERSION}/batching_params.pbtxt \
    saved_models/${MODEL}/${VERSION}/assets.extra/monitoring_config.txt /settings/
ENV MODEL_NAME=${MODEL}

USER 1000:1000
# Flags after the base image's own: ports, model name and folder. gRPC answers at 8500, REST at 8501.
CMD ["--enable_batching", \
     "--batching_parameters_file=/settings/batching_params.pbtxt", \
     "--enable_per_model_batching_parameters", \
     "--monitoring_config_file=/settings/monitoring_config.txt", \
     "--rest_api_timeout_in_ms=60000"]
