"""The decoder of planes, where earlier versions had it."""

from visionlab.slipstream import YUV420NumbaBatchDecoder as YUV420NumbaBatchDecoder
